"""Whether this process runs under gevent, and whose sends are whose there."""

from __future__ import annotations

import sys
from typing import Any

from dwebsocket import _engine

__all__ = ("is_patched", "sender")


def is_patched() -> bool:
    """Return whether gevent has patched the threads of this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def sender() -> _engine.Sender:
    """Return the habit of this greenlet; of threads, the engine knows it by itself."""
    current: Any = sys.modules["gevent"].getcurrent()
    try:
        habit: _engine.Sender = current._dwebsocket_sender
    except AttributeError:
        habit = current._dwebsocket_sender = _engine.Sender()
    return habit

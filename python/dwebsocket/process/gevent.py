"""Tells whether gevent has patched this process, and keeps the habits of greenlets."""

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
    """Return this greenlet's habit of sending; the engine itself knows a thread's."""
    current: Any = sys.modules["gevent"].getcurrent()
    try:
        habit: _engine.Sender = current._dwebsocket_sender
    except AttributeError:
        habit = current._dwebsocket_sender = _engine.Sender()
    return habit

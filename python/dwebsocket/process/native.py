"""Threads and locks of the system, also where gevent has put greenlets in their place.

An event loop of asyncio needs a real thread: in a greenlet, it would stop the hub.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from typing import Any

from .gevent import is_patched

__all__ = ("allocate_lock", "original", "start_thread")


def original(module: str, name: str) -> Any:
    """Return what a module of Python had under a name before gevent has patched it."""
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(importlib.import_module(module), name)
    return monkey.get_original(module, name)


def allocate_lock() -> Any:
    """Return a lock of the system."""
    return original("_thread", "allocate_lock")()


def start_thread(run: Callable[[], None], name: str) -> None:
    """Start a daemon thread.

    Raises:
        RuntimeError: The system has no thread left.
    """
    if is_patched():
        original("_thread", "start_new_thread")(run, ())
    else:
        threading.Thread(target=run, name=name, daemon=True).start()

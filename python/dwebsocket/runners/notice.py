"""Wakes the thread, or the greenlet, of a request that waits for its view."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from dwebsocket.process.gevent import is_patched

__all__ = ("Notice", "notice")


class Notice(Protocol):
    """Something that happens once."""

    def set(self) -> None:
        """Note that it has happened; from any thread."""

    def wait(self, timeout: float) -> bool:
        """Wait for it, once; return whether it has happened."""


class _ToGreenlet:
    """A notice from a real thread to a greenlet.

    A loop's ``async`` watcher is what gevent promises to be safe for that.
    """

    def __init__(self) -> None:
        import gevent.event

        self._event: Any = gevent.event.Event()
        self._watcher: Any = gevent.get_hub().loop.async_()
        self._watcher.start(self._event.set)

    def set(self) -> None:
        """Note that it has happened; not after :meth:`wait` has returned."""
        self._watcher.send()

    def wait(self, timeout: float) -> bool:
        """Wait for it; other greenlets run meanwhile."""
        try:
            return bool(self._event.wait(timeout))
        finally:
            self._watcher.stop()
            self._watcher.close()


def notice(asynchronous: bool) -> Notice:
    """Return what a view sets in its own thread.

    Args:
        asynchronous: The view is a task, whose thread is a real one.
    """
    if asynchronous and is_patched():
        return _ToGreenlet()
    return threading.Event()

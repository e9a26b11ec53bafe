"""Locks that a forked child can use, and what each process does once.

At the moment of a fork, another thread of the parent may hold a lock. The child does
not have that thread, so it would wait for the lock for ever.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ("Lock", "once")


class Lock:
    """A lock that is free in a forked child, even if a thread of the parent held it.

    Use it for modules, not for objects that come and go: Python keeps it for ever.

    Args:
        reentrant: Whether a thread that holds the lock may take it again.
    """

    __slots__ = ("_lock", "_reentrant")

    def __init__(self, *, reentrant: bool = False) -> None:
        self._reentrant = reentrant
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock() if self._reentrant else threading.Lock()

    def acquire(self, timeout: float = -1) -> bool:
        """Take the lock; return whether this was possible within the time."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


class Once:
    """A function that each process calls once; a forked child calls it anew.

    Args:
        function: The function. After an exception, or if it returns False, the next
            call tries again.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._lock = Lock()
        #: The process that has called the function.
        self._process: int | None = None

    def __call__(self) -> None:
        if self.is_done():
            return
        with self._lock:
            if not self.is_done() and self._function() is not False:
                self._process = os.getpid()

    def is_done(self) -> bool:
        """Return whether this process has called the function."""
        return self._process == os.getpid()

    def forget(self) -> None:
        """Have the next call call the function again."""
        self._process = None


#: A decorator: see :class:`Once`.
once = Once

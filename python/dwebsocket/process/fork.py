"""Locks that a forked child can use.

At the moment of a fork, another thread of the parent may hold a lock. The child does
not have that thread, so it would wait for the lock for ever.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ("Lock",)


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

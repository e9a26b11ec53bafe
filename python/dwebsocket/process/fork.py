"""Locks that a forked child can use.

At the moment of a fork, a thread that the child does not have may hold any lock: the
child would wait for it for ever.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ("Lock",)


class Lock:
    """A lock that is free in a forked child, whoever held it in the parent.

    For modules, not for objects that come and go: the system keeps it for ever.

    Args:
        reentrant: Whether a thread that holds it may take it again.
    """

    __slots__ = ("_lock", "_reentrant")

    def __init__(self, *, reentrant: bool = False) -> None:
        self._reentrant = reentrant
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock() if self._reentrant else threading.Lock()

    def acquire(self, timeout: float = -1) -> bool:
        """Take the lock; return whether that was possible within the time."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Let the lock go."""
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

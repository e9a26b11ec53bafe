"""Giving memory back to the system after a crowd has gone."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ("Crowd",)

#: Fewer views than this leave too little behind to be worth it.
_CROWD = 1000


def _trim() -> None:
    """Have the C library return what it keeps free; glibc only does so when asked."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Crowd:
    """Notices when most of many views have ended."""

    def __init__(self) -> None:
        self._most = 0

    def left(self, running: int, before: int) -> None:
        """Take note of a view's end.

        Args:
            running: How many views still run.
            before: How many ran before it ended.
        """
        self._most = max(self._most, before)
        if self._most >= _CROWD and running <= self._most // 20:
            self._most = running
            _trim()

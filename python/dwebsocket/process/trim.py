"""Returns free memory to the system after most of many views have ended."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ("Crowd",)

#: Fewer views than this leave too little free memory behind to be worth the effort.
_CROWD = 1000


def _trim() -> None:
    """Have the C library return its free memory; glibc does so only when asked."""
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
            before: How many views ran before this one ended.
        """
        self._most = max(self._most, before)
        if self._most >= _CROWD and running <= self._most // 20:
            self._most = running
            _trim()

"""A limit to how often something may happen."""

from __future__ import annotations

import time

__all__ = ("Bucket",)


class Bucket:
    """A token bucket: a rate limit that allows bursts.

    Args:
        rate: Tokens that come back each second.
        burst: The most tokens, which can all be taken at once.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._left = float(burst)
        self._then = time.monotonic()

    def wait_for(self) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        now = time.monotonic()
        self._left = min(self.burst, self._left + (now - self._then) * self.rate)
        self._then = now
        if self._left < 1:
            return (1 - self._left) / self.rate
        self._left -= 1
        return 0

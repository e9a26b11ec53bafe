"""A clock that a test moves."""

from __future__ import annotations


class Clock:
    """Stands for the module ``time`` in a module under test."""

    now = 100.0

    def monotonic(self) -> float:
        """Return the time, in seconds, that the test has set."""
        return self.now

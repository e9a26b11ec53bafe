"""How fast counters rise: the difference between two readings, for each second."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

__all__ = ("Rate", "Rates")

Key = TypeVar("Key", bound=Hashable)


class Rate(NamedTuple):
    """Messages each second.

    Args:
        received: Messages from the peer.
        sent: Messages to the peer.
    """

    received: float
    sent: float

    @classmethod
    def total(cls, rates: Iterable[Rate | None]) -> Rate | None:
        """Return the sum of the rates that are known; None if none is."""
        known = [rate for rate in rates if rate is not None]
        if not known:
            return None
        return cls(sum(one.received for one in known), sum(one.sent for one in known))


class _Reading(NamedTuple):
    at: float
    received: int
    sent: int
    rate: Rate | None


class Rates(Generic[Key]):
    """The rates of several pairs of counters.

    Args:
        span: The least seconds between the two readings of a rate: over a shorter time,
            one message more or less would make a great difference.
    """

    def __init__(self, span: float) -> None:
        self._span = span
        self._readings: dict[Key, _Reading] = {}

    def update(
        self, now: float, counters: Mapping[Key, tuple[int, int]]
    ) -> dict[Key, Rate | None]:
        """Take new readings, forget the others, and return the rates.

        Args:
            now: The time of the readings (monotonic).
            counters: The messages received and sent.

        Returns:
            The rates; None after the first reading.
        """
        readings: dict[Key, _Reading] = {}
        for key, (received, sent) in counters.items():
            before = self._readings.get(key)
            if before is None:
                readings[key] = _Reading(now, received, sent, None)
            # A thread that wakes a little early must not wait for another round.
            elif now - before.at < self._span * 0.8:
                readings[key] = before
            else:
                seconds = now - before.at
                # Counters fall if their directory is removed, and begins anew.
                rate = Rate(
                    max(received - before.received, 0) / seconds,
                    max(sent - before.sent, 0) / seconds,
                )
                readings[key] = _Reading(now, received, sent, rate)
        self._readings = readings
        return {key: reading.rate for key, reading in readings.items()}

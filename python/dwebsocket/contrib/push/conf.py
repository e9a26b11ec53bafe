"""The settings: ``DWEBSOCKET["PUSH"]``."""

from __future__ import annotations

from dwebsocket.conf.sections import Section, count, seconds

__all__ = ("push_settings",)

push_settings = Section(
    "PUSH",
    {
        # Seconds for which a notification is kept; None: until it is acknowledged.
        "TTL": seconds(30 * 86_400.0, optional=True),
        # The most notifications kept for one user; one more drops the oldest.
        "LIMIT": count(1_000),
        # The most waiting notifications that a page gets in one message.
        "BATCH": count(100),
    },
)

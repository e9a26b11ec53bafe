"""The settings: ``DWEBSOCKET["PUSH"]``."""

from __future__ import annotations

from dwebsocket.conf.sections import Section, count, seconds

__all__ = ("push_settings",)

push_settings = Section(
    "PUSH",
    {
        # Seconds for which a notification is kept; None: until it is acknowledged.
        "TTL": seconds(30 * 86_400.0, optional=True),
        # Notifications kept for one user; with one more, the oldest is dropped.
        "LIMIT": count(1_000),
        # Notifications that go to a page in one message after it has connected.
        "BATCH": count(100),
    },
)

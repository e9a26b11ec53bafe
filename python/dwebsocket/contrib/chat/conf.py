"""The settings: ``DWEBSOCKET["CHAT"]``."""

from __future__ import annotations

from dwebsocket.conf import Key
from dwebsocket.conf.sections import Section, between, count, path, seconds

__all__ = ("chat_settings",)


def _names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(item, str) for item in value
    )


chat_settings = Section(
    "CHAT",
    {
        # The class that says who may do what.
        "PERMISSIONS": path("dwebsocket.contrib.chat.Permissions"),
        # Messages that a room remembers, and for how many seconds.
        "HISTORY": count(100, low=0),
        "TTL": seconds(86_400.0),
        # Characters and lines of a message, characters of a name and of a room's name.
        "MESSAGE_LENGTH": between(2_000, 1, 20_000, "characters"),
        "MESSAGE_LINES": between(40, 1, 1_000, "lines"),
        "NAME_LENGTH": between(32, 1, 64, "characters"),
        # Messages a second that one page may send for long, and at once.
        "RATE": between(1.5, 0.01, 1_000, "messages a second"),
        "BURST": count(8),
        # People in a room at once.
        "PEOPLE": count(200),
        # Rooms with people in them at once; those in ROOMS do not count.
        "ROOMS_OPEN": count(1_000),
        # Rooms that are listed even if nobody is there, and how many are.
        "ROOMS": Key((), _names, "a list of rooms' names"),
        "ROOMS_LISTED": count(30),
        # What the names of the groups begin with: "chat.lobby".
        "PREFIX": Key(
            "chat",
            lambda value: isinstance(value, str) and value.isidentifier(),
            "a name of letters, digits and _",
        ),
    },
)

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
        # The class that decides who may do what.
        "PERMISSIONS": path("dwebsocket.contrib.chat.Permissions"),
        # Messages that a room keeps, and for how many seconds.
        "HISTORY": count(100, low=0),
        "TTL": seconds(86_400.0),
        # The most characters and lines of a message, and characters of a name.
        "MESSAGE_LENGTH": between(2_000, 1, 20_000, "characters"),
        "MESSAGE_LINES": between(40, 1, 1_000, "lines"),
        "NAME_LENGTH": between(32, 1, 64, "characters"),
        # Messages that one page may send: per second on average, and at once.
        "RATE": between(1.5, 0.01, 1_000, "messages a second"),
        "BURST": count(8),
        # The most people in a room.
        "PEOPLE": count(200),
        # The most rooms with people in them; the rooms in ROOMS do not count.
        "ROOMS_OPEN": count(1_000),
        # Rooms that are listed even if they are empty; the most rooms in a listing.
        "ROOMS": Key((), _names, "a list of rooms' names"),
        "ROOMS_LISTED": count(30),
        # The beginning of the groups' names, as in "chat.lobby".
        "PREFIX": Key(
            "chat",
            lambda value: isinstance(value, str) and value.isidentifier(),
            "a name of letters, digits and _",
        ),
    },
)

"""Rooms as groups of the hub: their messages, and the people in them."""

from __future__ import annotations

import time
import uuid
from typing import Any

from dwebsocket import hub
from dwebsocket.logins.rights import of_tenant
from dwebsocket.websocket.parsing import from_json

from . import text
from .conf import chat_settings
from .permissions import Permissions
from .shared import Shared

__all__ = ("changed", "group", "history", "listing", "people", "room_of", "say")

#: What listings need, by tenant: all pages that show one ask for it at the same time. A
#: page asks a second after it has heard of a change in another process (line.js).
crowds: Shared[dict[str, int]] = Shared(0.8)


def group_prefix() -> str:
    """Return the beginning of the groups' names, in this tenant."""
    return of_tenant(chat_settings.PREFIX)


def group_name(room: str) -> str:
    """Return the name of a room's group."""
    return f"{group_prefix()}.{room}"


def directory() -> hub.Group:
    """Return the group of pages that show a listing; no room has this name."""
    return hub.group(f"{group_prefix()}:rooms", history=0, presence=False)


def room_of(name: str) -> str | None:
    """Return the room of a group; None if the group is not that of a room."""
    prefix = group_name("")
    room = name.removeprefix(prefix)
    try:
        return room if prefix + text.clean_room(room) == name else None
    except ValueError:
        return None


def group(room: str) -> hub.Group:
    """Return the group of a room, with the history that the settings give it."""
    return hub.group(
        group_name(room),
        history=chat_settings.HISTORY,
        ttl=chat_settings.TTL,
        presence=True,
    )


def message(words: str, name: str, who: str, number: str) -> dict[str, Any]:
    """Return a message as pages get it, with the time in milliseconds."""
    now = round(time.time() * 1000)
    return {"id": number, "name": name, "who": who, "text": words, "at": now}


def say(room: str, words: str, *, name: str) -> hub.Published:
    """Send a message of the site itself to a room.

    Args:
        room: The room.
        words: The text, within the limits of visitors' messages.
        name: The name of the author, as the page shows it.

    Raises:
        ValueError: The room's name breaks the rules.
        Refused: The text is empty or too long.
    """
    words = text.clean_message(words)
    data = message(words, text.shown(name), "", uuid.uuid4().hex)
    return group(text.clean_room(room)).send_json(data)


def history(room: str, limit: int = 100) -> list[dict[str, Any]]:
    """Return the latest messages of a room, the oldest first.

    Args:
        room: The room.
        limit: The most messages.

    Raises:
        BrokerError: The broker, which has the history, cannot be reached.
        ValueError: The room's name breaks the rules.
    """
    kept = group(text.clean_room(room))
    if not kept.options.history:
        return []
    found: dict[str, dict[str, Any]] = {}
    for _, entry in kept.history(limit):
        message = _message(entry)
        if message is not None:
            # A page that got no answer has sent the message twice; the first counts.
            found.setdefault(message["id"], message)
    return list(found.values())


def _message(entry: str | bytes) -> dict[str, Any] | None:
    """Return a message of the chat; None if an entry of the history is not one."""
    try:
        message = from_json(entry)
    except (ValueError, RecursionError):
        return None
    keys = ("id", "name", "who", "text")
    return message if _has_texts(message, *keys) else None


def _has_texts(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) for key in keys
    )


def members(room: str) -> dict[str, str]:
    """Return the people in a room, in all processes: their names by their marks.

    Members that did not join by the chat, but by a view of the site, are left out.
    """
    found = (member.info for member in group(room).members())
    return {
        info["who"]: info["name"] for info in found if _has_texts(info, "who", "name")
    }


def people(room: str) -> list[str]:
    """Return the names of the people in a room, in all processes."""
    return list(members(text.clean_room(room)).values())


def may_open(room: str) -> bool:
    """Return whether one more room may have people in it (setting ``ROOMS_OPEN``)."""
    listed = room in chat_settings.ROOMS
    return listed or len(hub.occupied(group_name(""))) < chat_settings.ROOMS_OPEN


def listing(permissions: Permissions) -> list[dict[str, Any]]:
    """Return the rooms that a visitor may see, the fullest first.

    The listing has the rooms of the setting ``ROOMS`` and the rooms with people.
    """
    counts = {text.clean_room(room): 0 for room in chat_settings.ROOMS}
    counts |= crowds.get(group_prefix(), _count)
    found: list[dict[str, Any]] = []
    for room, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if len(found) == chat_settings.ROOMS_LISTED:
            break
        if permissions.may_see(room):
            found.append({"name": room, "people": count})
    return found


def _count() -> dict[str, int]:
    """Return how many people are in each room with people, over all processes."""
    prefix = group_name("")
    found = (name.removeprefix(prefix) for name in hub.occupied(prefix))
    return {room: len(members(room)) for room in found}


def changed() -> None:
    """Tell the pages that show a listing that the listing has changed."""
    crowds.forget(group_prefix())
    directory().send_json({"chat": "rooms"})

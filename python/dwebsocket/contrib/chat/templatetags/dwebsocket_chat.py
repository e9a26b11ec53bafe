"""The tags ``{% chat_room "lobby" %}`` and ``{% chat_rooms "view" %}``."""

from __future__ import annotations

import contextlib
from typing import Any

from django import template
from django.http import HttpRequest
from django.template.context import Context
from django.urls import NoReverseMatch, reverse

from dwebsocket.conf.sections import socket_address
from dwebsocket.contrib.chat import rooms
from dwebsocket.contrib.chat.conf import chat_settings
from dwebsocket.contrib.chat.permissions import permissions_of
from dwebsocket.contrib.chat.text import clean_room

__all__ = ("chat_room", "chat_rooms")

register = template.Library()

#: A placeholder for the room in an address; rooms.js replaces it.
ANY = "any-room"


def _request(context: Context) -> HttpRequest:
    found = getattr(context, "request", None) or context.get("request")
    return found or HttpRequest()


@register.inclusion_tag("dwebsocket/chat/room.html", takes_context=True)
def chat_room(
    context: Context, room: str, title: str = "", heading: int = 2
) -> dict[str, Any]:
    """Render the panel of a room: its messages, its people, and a field to write.

    Nothing is rendered for a visitor who may not see the room.

    Args:
        context: The template's context, with the request.
        room: The room's name.
        title: The heading of the panel; by default the room's name.
        heading: The level of the heading, 1 to 6.

    Raises:
        ValueError: The room's name breaks the rules.
    """
    request = _request(context)
    room = clean_room(room)
    permissions = permissions_of(request)
    if not permissions.may_see(room):
        return {}
    return {
        "room": room,
        "title": title or room,
        "heading": heading,
        "url": socket_address("chat", request),
        "id": f"chat-{room}",
        "prefix": rooms.group_prefix(),
        "may_join": permissions.may_join(room),
        "may_write": permissions.may_write(room),
        "asks_name": permissions.asks_name(),
        "name_length": chat_settings.NAME_LENGTH,
        "message_length": chat_settings.MESSAGE_LENGTH,
    }


@register.inclusion_tag("dwebsocket/chat/rooms.html", takes_context=True)
def chat_rooms(
    context: Context, view: str, current: str = "", opens: bool = True
) -> dict[str, Any]:
    """List the rooms that the visitor may see, with links; the page keeps it current.

    Args:
        context: The template's context, with the request.
        view: The name of the view that shows a room; its one argument is the room.
            Rooms whose names its path does not accept are left out.
        current: The room that the page shows.
        opens: Whether the page has a field to open a room of another name.

    Raises:
        NoReverseMatch: The project's URLs have no view of this name, or its path does
            not accept "any-room".
    """
    request = _request(context)
    address = reverse(view, args=[ANY])
    found: list[dict[str, Any]] = []
    for room in rooms.listing(permissions_of(request)):
        # A visitor may have entered a room whose name the view's path does not accept.
        with contextlib.suppress(NoReverseMatch):
            room["address"] = reverse(view, args=[room["name"]])
            found.append(room)
    return {
        "rooms": found,
        "current": current,
        "opens": opens,
        "url": socket_address("chat", request),
        "address": address,
    }

"""``{% load dwebsocket_chat %}{% chat_room "lobby" %}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest
from django.template.context import Context
from django.urls import reverse

from dwebsocket.contrib.chat.conf import chat_settings
from dwebsocket.contrib.chat.permissions import permissions_of
from dwebsocket.contrib.chat.text import clean_room

__all__ = ("chat_room",)

register = template.Library()


@register.inclusion_tag("dwebsocket/chat/room.html", takes_context=True)
def chat_room(
    context: Context, room: str, title: str = "", heading: int = 2
) -> dict[str, Any]:
    """Show a room: what is said there, who is there, and where to write.

    Nothing is rendered for a visitor who may not see the room.

    Args:
        context: Has the request.
        room: The room's name.
        title: What stands above it; by default the name.
        heading: The level of that heading, 1 to 6.

    Raises:
        ValueError: The room's name breaks the rules.
    """
    request = getattr(context, "request", None) or context.get("request")
    room = clean_room(room)
    permissions = permissions_of(request or HttpRequest())
    if not permissions.may_see(room):
        return {}
    match = getattr(request, "resolver_match", None)
    url = reverse("dwebsocket_chat:socket", current_app=getattr(match, "namespace", ""))
    return {
        "room": room,
        "title": title or room,
        "heading": heading,
        "url": url,
        "id": f"chat-{room}",
        "prefix": chat_settings.PREFIX,
        "may_join": permissions.may_join(room),
        "may_write": permissions.may_write(room),
        "asks_name": permissions.asks_name(),
        "name_length": chat_settings.NAME_LENGTH,
        "message_length": chat_settings.MESSAGE_LENGTH,
    }

"""Rooms with history and presence over one WebSocket, and a panel that shows them.

    INSTALLED_APPS = [..., "dwebsocket.contrib.chat"]
    urlpatterns = [..., path("chat/", include("dwebsocket.contrib.chat.urls"))]

    {% load dwebsocket_chat %}{% chat_room "lobby" %}

A subclass of :class:`Permissions` decides who may do what. The guide: docs/contrib.md.
"""

from __future__ import annotations

from .permissions import Guests, Permissions
from .rooms import history, people, say
from .text import clean_room

__all__ = ("Guests", "Permissions", "clean_room", "history", "people", "say")

"""Channels in memory: messages to /publish go to all connections to /member.

An ASGI application for uvicorn.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

settings.configure(
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
)

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

GROUP = "room"


class Member(AsyncWebsocketConsumer):
    """A connection that listens."""

    groups = [GROUP]

    async def room_message(self, event: dict[str, Any]) -> None:
        """Forward a message of the group."""
        await self.send(text_data=event["text"])


class Publisher(AsyncWebsocketConsumer):
    """A connection that publishes."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Send a message to the group."""
        event = {"type": "room.message", "text": text_data}
        await self.channel_layer.group_send(GROUP, event)


application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [path("member", Member.as_asgi()), path("publish", Publisher.as_asgi())]
        )
    }
)

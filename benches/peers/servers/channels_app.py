"""Channels: messages to /publish go to all connections to /member.

An ASGI application for uvicorn and daphne. ``BENCH_REDIS`` has the URL of a Redis
server for the channel layer; without it, the layer is in memory. With
``BENCH_AS_VIEW``, the consumers are views of dwebsocket-rs, which has a layer of its
own, and ``wsgi`` serves them.
"""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

REDIS = os.environ.get("BENCH_REDIS")
IN_MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
IN_REDIS = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [REDIS]},
}
AS_VIEW = "BENCH_AS_VIEW" in os.environ
OURS = {"BACKEND": "dwebsocket.channels.ChannelLayer"}

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    CHANNEL_LAYERS={"default": OURS if AS_VIEW else IN_REDIS if REDIS else IN_MEMORY},
    DWEBSOCKET={"COMPRESSION": "off", "MAX_CONNECTIONS": 19_000},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

GROUP = "room"


def hello(request: HttpRequest) -> HttpResponse:
    """Answer plain HTTP."""
    return HttpResponse("hello")


urlpatterns = [path("hello", hello)]


class Echo(AsyncWebsocketConsumer):
    """A connection that gets its messages back."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Send a message back."""
        await self.send(text_data=text_data, bytes_data=bytes_data)


class Member(AsyncWebsocketConsumer):
    """A connection that listens."""

    groups = [GROUP]

    async def room_message(self, event: dict[str, Any]) -> None:
        """Forward a message of the group."""
        await self.send(text_data=event["text"], bytes_data=event["bytes"])


class Publisher(AsyncWebsocketConsumer):
    """A connection that publishes."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Send a message to the group."""
        event = {"type": "room.message", "text": text_data, "bytes": bytes_data}
        await self.channel_layer.group_send(GROUP, event)


consumers = URLRouter(
    [
        path("echo", Echo.as_asgi()),
        path("member", Member.as_asgi()),
        path("publish", Publisher.as_asgi()),
    ]
)
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": consumers}
)

if AS_VIEW:
    from django.core.wsgi import get_wsgi_application

    from dwebsocket.asgi import as_view

    urlpatterns.append(re_path("", as_view(consumers)))
    wsgi = get_wsgi_application()

"""Applications of others' software as views: Channels, strawberry, Starlette.

The settings of this site have Channels' layer on the hub: ``CHANNEL_LAYERS``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import strawberry
from asgiref.sync import async_to_sync
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.contrib.auth import get_user_model, login
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL

from dwebsocket.asgi import as_view

from .urls import urlpatterns as base

# Channels: the tutorial's consumer, with a login.


class Chat(AsyncJsonWebsocketConsumer):
    """A room for users that are logged in."""

    async def connect(self) -> None:
        """Join the room, or turn a guest away."""
        if not self.scope["user"].is_authenticated:
            await self.close()
            return
        self.room = "room_" + self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        offered = self.scope["subprotocols"]
        await self.accept(offered[0] if offered else None)
        await self.send_json({"hello": self.scope["user"].username})

    async def disconnect(self, code: int) -> None:
        """Leave the room."""
        if hasattr(self, "room"):
            await self.channel_layer.group_discard(self.room, self.channel_name)
            event = {"type": "chat.message", "text": f"left: {code}"}
            await self.channel_layer.group_send(self.room, event)

    async def receive_json(self, content: Any) -> None:
        """Send a message to the room."""
        if content.get("count"):
            users = await database_sync_to_async(get_user_model().objects.count)()
            await self.send_json({"users": users})
            return
        event = {"type": "chat.message", "text": content["text"]}
        await self.channel_layer.group_send(self.room, event)

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Send a message of the room to the client."""
        await self.send_json({"text": event["text"]})


class SyncChat(JsonWebsocketConsumer):
    """A synchronous consumer, which joins the group of its attribute."""

    groups = ["sync"]

    def receive_json(self, content: Any) -> None:
        """Send a message to the group."""
        users = get_user_model().objects.count()
        event = {"type": "chat.message", "text": content["text"], "users": users}
        async_to_sync(self.channel_layer.group_send)("sync", event)

    def chat_message(self, event: dict[str, Any]) -> None:
        """Send a message of the group to the client."""
        self.send_json({"text": event["text"], "users": event["users"] >= 0})


class Bare(AsyncJsonWebsocketConsumer):
    """A consumer that Django's own URLs lead to."""

    async def connect(self) -> None:
        """Tell what the scope has."""
        await self.accept()
        scope = self.scope
        user = scope["user"]
        room = scope["url_route"]["kwargs"]["room"]
        await self.send_json({"room": room, "user": str(user), "pk": user.pk})


def announce(request: HttpRequest) -> HttpResponse:
    """Send to a room from a synchronous view."""
    event = {"type": "chat.message", "text": request.GET["text"]}
    async_to_sync(get_channel_layer().group_send)(request.GET["room"], event)
    return HttpResponse("sent")


def log_in(request: HttpRequest) -> HttpResponse:
    """Log a user in."""
    user, _ = get_user_model().objects.get_or_create(username=request.GET["name"])
    login(request, user)
    return HttpResponse("welcome")


channels = AuthMiddlewareStack(URLRouter([path("ws/chat/<str:room>/", Chat.as_asgi())]))


# strawberry: a subscription.


@strawberry.type
class Query:
    """What GraphQL wants to have."""

    @strawberry.field
    def ping(self) -> str:
        """Answer."""
        return "pong"


@strawberry.type
class Subscription:
    """The subscriptions."""

    @strawberry.subscription
    async def count(self, target: int = 3) -> AsyncGenerator[int, None]:
        """Count."""
        for number in range(target):
            yield number
            await asyncio.sleep(0)


graphql: Any = GraphQL(strawberry.Schema(query=Query, subscription=Subscription))


# Starlette: an endpoint, with a lifespan.


class Echo(WebSocketEndpoint):
    """Echo text, with a greeting."""

    encoding = "text"

    async def on_connect(self, websocket: WebSocket) -> None:
        """Greet."""
        await websocket.accept(headers=[(b"x-starlette", b"yes")])
        name, state = websocket.path_params["name"], websocket.state.greeting
        await websocket.send_text(f"{state}, {name}")

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        """Echo."""
        await websocket.send_text(data)


async def denied(websocket: WebSocket) -> None:
    """Refuse with a response."""
    from starlette.responses import JSONResponse

    await websocket.send_denial_response(JSONResponse({"why": "no"}, status_code=402))


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    """Have something in the state."""
    yield {"greeting": "hello"}
    print("ERROR: Starlette was told of the end", flush=True)


starlette = Starlette(
    routes=[
        WebSocketRoute("/echo/{name}", Echo),
        WebSocketRoute("/denied", denied),
    ],
    lifespan=lifespan,
)

urlpatterns = [
    *base,
    path("log-in", log_in),
    path("announce", announce),
    re_path("^ws/", as_view(channels)),
    path("sync", as_view(SyncChat.as_asgi())),
    path("bare/<str:room>/", as_view(Bare.as_asgi())),
    path("graphql", as_view(graphql)),
    path("starlette/<path:rest>", as_view(starlette, mount="rest")),
]

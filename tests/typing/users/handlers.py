"""Classes with handlers: their methods, attributes and typed messages."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from dwebsocket import AsyncWebSocket, ViewOptions, WebSocketView, on
from dwebsocket.websocket import WebSocket


class Chat(LoginRequiredMixin, WebSocketView):
    groups = ["chat.{room}"]
    subprotocols = ["chat.v2", "chat.v1"]
    dialect = "modern"
    max_message_size = 65_536
    idle_timeout = 300
    ping_interval = None
    allowed_origins = ["https://example.com"]
    compression = "off"
    names: list[str]

    def on_open(self) -> None:
        self.names = [self.request.user.get_username()]
        assert_type(self.websocket, WebSocket[str | bytes])
        assert_type(self.websocket.send("hello"), bool)

    def on_message(self, message: str) -> None:
        self.websocket.send(message)
        self.websocket.send_json({"room": self.kwargs["room"]})

    def on_close(self, code: int) -> None:
        assert_type(self.websocket.close_reason, str)

    def get(self, request: HttpRequest, room: str) -> HttpResponse:
        return HttpResponse(room)


class Both(WebSocketView):
    def on_message(self, message: str | bytes) -> None:
        super().on_message(message)

    @on("add")
    def add(self, a: int, b: int = 0) -> int:
        return a + b


class Chosen(WebSocketView):
    def subprotocols(self, request: HttpRequest, offered: list[str]) -> str | None:
        return offered[0] if offered else None


class Classic(WebSocketView[WebSocket[bytes]]):
    dialect = "classic"

    def on_message(self, message: bytes) -> None:
        assert_type(self.websocket.wait(0), bytes | None)


class Tasks(PermissionRequiredMixin, WebSocketView[AsyncWebSocket]):
    permission_required = "chat.view_room"

    async def on_open(self) -> None:
        await self.websocket.join("room")

    async def on_message(self, message: str) -> None:
        assert_type(await self.websocket.send(message), bool)

    def on_close(self, code: int) -> None: ...

    @on("add")
    async def add(self, a: int, b: int) -> int:
        return a + b


class Guarded(WebSocketView):
    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        if not request.GET:
            return HttpResponse(status=400)
        return super().dispatch(request, *args, **kwargs)


urlpatterns = [
    path("chat/<room>/", Chat.as_view()),
    path("both/", login_required(Both.as_view(idle_timeout=60))),
    path("chosen/", Chosen.as_view()),
    path("classic/", Classic.as_view()),
    path("tasks/", Tasks.as_view()),
    path("guarded/", Guarded.as_view()),
]
assert_type(Both().add(1, 2), int)


def options(view: WebSocketView) -> ViewOptions:
    """Each setting is an attribute, of the type of the decorators' argument."""
    assert_type(view.dialect, Literal["classic", "modern"] | None)
    return {
        "allowed_origins": view.allowed_origins,
        "overflow": view.overflow,
        "send_timeout": view.send_timeout,
        "gone_timeout": view.gone_timeout,
        "cancel_on_disconnect": view.cancel_on_disconnect,
        "accept_timeout": view.accept_timeout,
        "max_message_size": view.max_message_size,
        "max_frame_size": view.max_frame_size,
        "max_fragments": view.max_fragments,
        "ping_interval": view.ping_interval,
        "ping_timeout": view.ping_timeout,
        "handshake_timeout": view.handshake_timeout,
        "close_timeout": view.close_timeout,
        "idle_timeout": view.idle_timeout,
        "inbox_messages": view.inbox_messages,
        "inbox_bytes": view.inbox_bytes,
        "outbox_messages": view.outbox_messages,
        "outbox_bytes": view.outbox_bytes,
        "compression": view.compression,
        "compression_threshold": view.compression_threshold,
        "compression_level": view.compression_level,
        "recheck_interval": view.recheck_interval,
    }


class Manual(WebSocketView):
    accept_timeout = 5
    overflow = "block"
    max_frame_size = None


class Wrong(WebSocketView):
    # error: mypy=assignment pyright=reportAssignmentType
    max_message_size = "large"
    # error: mypy=assignment pyright=reportAssignmentType
    accept_timeout = "soon"
    # error: mypy=assignment pyright=reportAssignmentType
    ping_timeout = None
    # error: mypy=assignment pyright=reportAssignmentType
    overflow = "drop"
    # error: mypy=assignment pyright=reportAssignmentType
    dialect = "klingon"

    def on_open(self) -> None:
        # error: mypy=attr-defined pyright=reportAttributeAccessIssue
        self.websocket.send_text("hello")

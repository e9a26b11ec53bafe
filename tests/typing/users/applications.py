"""ASGI applications as views."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from typing_extensions import assert_type

from dwebsocket.asgi import application as serve
from dwebsocket.asgi import as_view

Event = MutableMapping[str, Any]


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Event]],
    send: Callable[[Event], Awaitable[None]],
) -> None:
    await receive()
    await send({"type": "websocket.accept"})


view = as_view(application, mount="rest", end_timeout=None, max_message_size=100)


def call(request: HttpRequest) -> None:
    assert_type(view(request, rest="x"), HttpResponse)


urlpatterns = [
    path("<path:rest>", view),
    path("consumer", as_view(AsyncWebsocketConsumer.as_asgi())),
    path("starlette", as_view(Starlette())),
    path("endpoint", as_view(WebSocketEndpoint)),
]

# As asgi.py of a site has it.
served = serve(get_asgi_application())
routed = serve(ProtocolTypeRouter({"http": get_asgi_application()}), adopt=False)
mounted = serve(Starlette())
# error: mypy=arg-type pyright=reportArgumentType
serve(42)

# error: mypy=arg-type pyright=reportArgumentType
as_view(application, accept_timeout="soon")
# error: mypy=arg-type pyright=reportArgumentType
as_view(42)
# error: mypy=call-arg pyright=reportCallIssue
as_view(application, max_mesage_size=5)

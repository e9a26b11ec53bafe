"""Asynchronous views: their requests, what they await, and where they fit."""

from __future__ import annotations

import asyncio
from typing import Any, assert_type

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views import View

from dwebsocket import (
    AsyncWebSocket,
    AsyncWebSocketRequest,
    ClassicAsyncWebSocketRequest,
    WebSocketRequest,
    accept_websocket,
    hub,
    require_websocket,
    websocket,
)


@websocket
async def modern(request: AsyncWebSocketRequest, room: str) -> None:
    ws = request.websocket
    assert_type(ws, AsyncWebSocket[str | bytes])
    assert_type(await ws.wait(), str | bytes | None)
    assert_type(await ws.receive(timeout=1), str | bytes)
    async for message in ws:
        assert_type(message, str | bytes)
        ws.send(message)
        assert_type(await ws.send(message), bool)
    await ws.join(room, presence=True)
    assert_type(await ws.leave(room), bool)
    for member in await ws.members(room):
        assert_type(member.id, str)
    assert_type(await hub.group(room).acount(), int)
    task = asyncio.create_task(ws.receive())
    assert_type(await task, str | bytes)


@accept_websocket
async def classic(request: ClassicAsyncWebSocketRequest) -> HttpResponse | None:
    if not request.is_websocket():
        return HttpResponse("plain")
    assert_type(await request.websocket.wait(), bytes | None)
    assert_type(await request.websocket.receive(), bytes)
    return None


@require_websocket(dialect="modern", cancel_on_disconnect=True)
async def options(request: AsyncWebSocketRequest) -> None: ...


@websocket(accept="manual")
async def decides(request: AsyncWebSocketRequest) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return HttpResponse(status=403)
    assert_type(await request.websocket.accept("chat", {"X-A": "1"}), None)
    return None


@websocket
async def any_request(request: HttpRequest) -> None: ...


class Pages(View):
    @websocket
    async def get(self, request: AsyncWebSocketRequest, number: int) -> None:
        await request.websocket.send(str(number))


@websocket
async def synchronous_request(request: WebSocketRequest) -> None: ...


@websocket
def asynchronous_request(request: AsyncWebSocketRequest) -> None: ...


@websocket
async def other_dialect(request: ClassicAsyncWebSocketRequest) -> None: ...


async def helper(ws: AsyncWebSocket[Any]) -> None:
    await ws.send_json({"a": 1})


path("1/<str:room>/", modern)
path("2/", classic)
path("3/", options)
path("3/by-hand/", decides)
path("4/", any_request)
path("5/", Pages.as_view())
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("6/", synchronous_request)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("7/", asynchronous_request)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("8/", other_dialect)

"""Views whose code crosses between synchronous and asynchronous, more than once.

Each asks the database before it accepts (if it accepts by hand), for each message, and
at its end, from the other side: coroutines by ``sync_to_async()``, functions by
``async_to_sync()``. It answers with the rows that it has counted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.urls import path

from dwebsocket import WebSocketView, websocket
from dwebsocket.asgi import as_view

from .report import Report


def _count() -> int:
    """Query in a thread of the view's, not in that of a request or a test."""
    assert threading.current_thread().name.startswith("websocket-")
    return Group.objects.count()


async def _aask() -> str:
    """Have synchronous calls made: the first changes what the others find."""
    return ",".join([str(await sync_to_async(_count)()) for _ in range(3)])


def _ask() -> str:
    """Have coroutines run that have synchronous calls made."""
    return f"{async_to_sync(_aask)()},{_count()},{async_to_sync(_aask)()}"


async def _acount() -> str:
    """Query in whatever thread there is."""
    return ",".join([str(await Group.objects.acount()) for _ in range(3)])


@websocket
def view(request: Any) -> None:
    """Answer in a thread."""
    for _ in request.websocket:
        request.websocket.send(_ask())
    Report(request)("end", _ask())


@websocket
def own_loop(request: Any) -> None:
    """Answer by an event loop of the view's own."""
    for _ in request.websocket:
        request.websocket.send(asyncio.run(_acount()))
    Report(request)("end", asyncio.run(_acount()))


@websocket
async def aview(request: Any) -> None:
    """Answer in a task."""
    async for _ in request.websocket:
        await request.websocket.send(await _aask())
    Report(request)("end", await _aask())


@websocket(accept="manual", accept_timeout=5.0)
def manual(request: Any) -> None:
    """Ask before accepting, in a thread."""
    before = _ask()
    request.websocket.accept()
    for _ in request.websocket:
        request.websocket.send(f"{before} {_ask()}")
    Report(request)("end", _ask())


@websocket(accept="manual", accept_timeout=5.0)
async def amanual(request: Any) -> None:
    """Ask before accepting, in a task."""
    before = await _aask()
    await request.websocket.accept()
    async for _ in request.websocket:
        await request.websocket.send(f"{before} {await _aask()}")
    Report(request)("end", await _aask())


@websocket(accept="manual", accept_timeout=5.0)
def refuses(request: Any) -> HttpResponse:
    """Ask, and refuse."""
    return HttpResponse(_ask(), status=409)


@websocket(accept="manual", accept_timeout=5.0)
async def arefuses(request: Any) -> HttpResponse:
    """Ask, and refuse."""
    return HttpResponse(await _aask(), status=409)


class Handlers(WebSocketView):
    """Functions that ask."""

    def on_message(self, message: str | bytes) -> None:
        """Answer."""
        self.websocket.send(_ask())

    def on_close(self, code: int) -> None:
        """Report."""
        Report(self.request)("end", _ask())


class AsyncHandlers(WebSocketView[Any]):
    """Coroutine functions that ask."""

    async def on_message(self, message: str | bytes) -> None:
        """Answer."""
        await self.websocket.send(await _aask())

    async def on_close(self, code: int) -> None:
        """Report."""
        Report(self.request)("end", await _aask())


class MixedHandlers(WebSocketView[Any]):
    """Functions beside a coroutine function."""

    async def on_open(self) -> None:
        """Ask."""
        self.asked = await _aask()

    def on_message(self, message: str | bytes) -> None:
        """Answer."""
        self.websocket.send(f"{self.asked} {_ask()}")

    def on_close(self, code: int) -> None:
        """Report."""
        Report(self.request)("end", _ask())


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Ask before accepting, and afterwards."""
    assert scope["type"] == "websocket"
    await receive()
    before = await _aask()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        text = f"{before} {await _aask()}"
        await send({"type": "websocket.send", "text": text})
    request = scope["extensions"]["dwebsocket"]["request"]
    Report(request)("end", await _aask())


#: Those that accept.
VIEWS: dict[str, Callable[..., Any]] = {
    "def": view,
    "own-loop": own_loop,
    "async": aview,
    "manual": manual,
    "async-manual": amanual,
    "class": Handlers.as_view(),
    "async-class": AsyncHandlers.as_view(),
    "mixed-class": MixedHandlers.as_view(),
    "application": as_view(application, accept_timeout=5.0),
}
#: Those that refuse.
REFUSING: dict[str, Callable[..., Any]] = {
    "refuses": refuses,
    "async-refuses": arefuses,
}

urlpatterns = [
    path(f"crossing/{kind}", view) for kind, view in {**VIEWS, **REFUSING}.items()
]

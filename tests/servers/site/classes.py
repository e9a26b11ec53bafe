"""Classes with handlers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from dwebsocket import WebSocketView, hub, on

from .report import Report


class Echo(WebSocketView):
    """Send back what comes; answer plain HTTP."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Answer plain HTTP."""
        return HttpResponse("please connect with a WebSocket")

    def on_message(self, message: str | bytes) -> None:
        """Send it back."""
        self.websocket.send(message)


class AsyncEcho(WebSocketView[Any]):
    """The same in the event loop."""

    async def on_message(self, message: str | bytes) -> None:
        """Send it back."""
        await self.websocket.send(message)


class Query(WebSocketView):
    """Run a query for every message."""

    def on_message(self, message: str) -> None:
        """Answer with a result of the database."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 42")
            self.websocket.send(str(cursor.fetchone()[0]))


class Whole(WebSocketView):
    """Report everything that happens."""

    groups = ["whole.{room}"]

    def on_open(self) -> None:
        """Report the opening."""
        self.report = Report(self.request)
        self.report("open", [self.kwargs["room"], translation.get_language()])

    def on_message(self, message: str) -> None:
        """Sleep, fail, or publish."""
        self.report("message", message)
        if message == "sleep":
            time.sleep(600)
        if message == "fail":
            raise ZeroDivisionError("the handler's own mistake")
        hub.group(f"whole.{self.kwargs['room']}").send(message)

    def on_close(self, code: int) -> None:
        """Report the end."""
        self.report("close", code)


class AsyncWhole(WebSocketView[Any]):
    """Report everything that happens, in the event loop."""

    groups = ["whole.{room}"]

    async def on_open(self) -> None:
        """Report the opening."""
        self.report = Report(self.request)
        self.report("open", [self.kwargs["room"], translation.get_language()])

    async def on_message(self, message: str) -> None:
        """Sleep, fail, or publish."""
        self.report("message", message)
        if message == "sleep":
            await asyncio.sleep(600)
        if message == "fail":
            raise ZeroDivisionError("the handler's own mistake")
        await hub.group(f"whole.{self.kwargs['room']}").asend(message)

    def on_close(self, code: int) -> None:
        """Report the end."""
        self.report("close", code)


class Slow(WebSocketView):
    """Sleep as long as a message says."""

    def on_message(self, message: str) -> None:
        """Sleep, and say in which thread."""
        time.sleep(float(message))
        self.websocket.send(json.dumps([message, threading.get_ident()]))


class Typed(WebSocketView):
    """Add numbers."""

    @on("add")
    def add(self, a: int, b: int) -> int:
        """Return the sum."""
        return a + b

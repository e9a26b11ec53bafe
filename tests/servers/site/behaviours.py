"""Views for the behaviours that are tested under every ASGI server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse

from dwebsocket import hub, push, websocket
from dwebsocket.exceptions import WebSocketClosed

from .report import Report


def _about(request: Any) -> dict[str, Any]:
    ws = request.websocket
    return {
        "path": request.get_full_path(),
        "method": request.method,
        "secure": request.is_secure(),
        "scheme": request.META["wsgi.url_scheme"],
        "agent": request.headers.get("User-Agent"),
        "cookie": request.COOKIES.get("flavour"),
        "address": list(ws.remote_address),
        "subprotocol": ws.subprotocol,
        "user": request.user.get_username(),
        "count": request.session.get("count"),
        "stamps": getattr(request, "stamps", []),
        "language": request.LANGUAGE_CODE,
    }


def _act(ws: Any, command: dict[str, Any], report: Report) -> bool:
    """Do what a message says; return whether the view goes on."""
    kind = command["do"]
    if kind == "return":
        return False
    if kind == "close":
        ws.close(command["code"], command["reason"])
    elif kind == "raise":
        raise RuntimeError("on purpose")
    elif kind == "refuse":
        raise PermissionDenied("on purpose")
    elif kind == "join":
        ws.join(command["group"])
        ws.send("joined")
    elif kind == "sleep":
        time.sleep(command["seconds"])
    elif kind == "pour":
        report.outcome("poured", _pour, ws, command["size"])
    return True


def _pour(ws: Any, size: int) -> bool:
    """Send until it fails, to a peer that reads nothing."""
    message = b"x" * size
    return all(ws.send(message) for _ in range(10_000))


@websocket(subprotocols=["second", "first"], send_timeout=1.0)
def talk(request: Any) -> None:
    """Do what the messages say; report the beginning and the end."""
    report, ws = Report(request), request.websocket
    report("open", _about(request))
    try:
        while True:
            message = ws.receive()
            if not _act(ws, json.loads(message), report):
                break
    except WebSocketClosed as closed:
        report("closed", [closed.code, closed.reason])
        raise
    finally:
        report("end")


@websocket(overflow="drop_oldest", outbox_messages=16)
def bounded(request: Any) -> None:
    """Join a group, and lose its oldest messages when the peer is slow."""
    report, ws = Report(request), request.websocket
    ws.join(request.GET["group"])
    report("open")
    for message in ws:
        ws.send(message)
    report("dropped", ws.stats["dropped_messages"])


def publish(request: HttpRequest) -> JsonResponse:
    """Send to a group or to a user, from a request of HTTP."""
    group, user = request.GET.get("group"), request.GET.get("user")
    message = "m" * int(request.GET.get("size", 1))
    count = int(request.GET.get("count", 1))
    local = dropped = 0
    for _ in range(count):
        if group:
            sent: Any = hub.group(group).send(message)
        else:
            sent = push.to_user(int(user or 0), {"pushed": True})
        local, dropped = sent.local, dropped + sent.dropped
    return JsonResponse({"local": local, "dropped": dropped})


def members(request: HttpRequest) -> JsonResponse:
    """Count the members of a group."""
    return JsonResponse({"count": hub.group(request.GET["group"]).count()})


def synchronous(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Put a stamp on the request, and a header on the response."""

    def middleware(request: Any) -> Any:
        request.stamps = [*getattr(request, "stamps", []), "sync"]
        response = get_response(request)
        response["X-Sync"] = "passed"
        return response

    return middleware


class Asynchronous:
    """The same in a class with an async ``__call__``."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        assert iscoroutinefunction(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> HttpResponse:
        """Put a stamp on the request, and a cookie on the response."""
        request.stamps = [*getattr(request, "stamps", []), "async"]
        await asyncio.sleep(0)
        response: HttpResponse = await self.get_response(request)
        response.set_cookie("passed", "through")
        return response

"""ASGI applications as views."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied

from dwebsocket.asgi import as_view
from tests.servers.site.report import Report

from .common import BOUNDED, FLOOD, LARGE, TALK, about


async def _accept(scope: Any, receive: Any, send: Any) -> tuple[Any, Any]:
    """Accept; return Django's request and the WebSocket."""
    assert (await receive())["type"] == "websocket.connect"
    offered = [name for name in TALK["subprotocols"] if name in scope["subprotocols"]]
    await send(
        {"type": "websocket.accept", "subprotocol": offered[0] if offered else None}
    )
    extension = scope["extensions"]["dwebsocket"]
    return extension["request"], extension["websocket"]


async def _echo_all(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back what comes."""
    assert scope["type"] == "websocket"
    await _accept(scope, receive, send)
    await _echo_all(receive, send)


async def _act(ws: Any, command: dict[str, Any], report: Report, send: Any) -> bool:
    """Do what a message says; return whether the application goes on."""
    kind = command["do"]
    if kind == "return":
        return False
    if kind == "close":
        close = {"code": command["code"], "reason": command["reason"]}
        await send({"type": "websocket.close", **close})
    elif kind == "raise":
        raise RuntimeError("on purpose")
    elif kind == "refuse":
        raise PermissionDenied("on purpose")
    elif kind == "join":
        await ws.join(command["group"])
        await send({"type": "websocket.send", "text": "joined"})
    elif kind == "pour":
        report("poured", await _pour(send, command["size"]))
    return True


async def _pour(send: Any, size: int) -> bool:
    """Send until it fails, to a peer that reads nothing."""
    message = b"x" * size
    try:
        for _ in range(FLOOD):
            await send({"type": "websocket.send", "bytes": message})
    except OSError:
        return False
    return True


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """Do what the messages say; report the beginning and the end."""
    assert scope["type"] == "websocket"
    request, ws = await _accept(scope, receive, send)
    report = Report(request)
    report("open", await sync_to_async(about)(request, ws))
    try:
        while (event := await receive())["type"] == "websocket.receive":
            if not await _act(ws, json.loads(event["text"]), report, send):
                return
        report("closed", [event["code"], event["reason"]])
    finally:
        report("end")


async def bounded(scope: Any, receive: Any, send: Any) -> None:
    """Join a group, and lose its oldest messages when the peer is slow."""
    assert scope["type"] == "websocket"
    request, ws = await _accept(scope, receive, send)
    report = Report(request)
    await ws.join(request.GET["group"])
    report("open")
    await _echo_all(receive, send)
    report("dropped", ws.stats["dropped_messages"])


VIEWS = {
    "echo": as_view(echo),
    "large": as_view(echo, **LARGE),
    "talk": as_view(talk, send_timeout=TALK["send_timeout"]),
    "bounded": as_view(bounded, **BOUNDED),
}

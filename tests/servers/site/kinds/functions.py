"""Synchronous views."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import PermissionDenied

from dwebsocket import websocket
from dwebsocket.exceptions import WebSocketClosed
from tests.servers.site.report import Report

from .common import BOUNDED, FLOOD, LARGE, TALK, about


def _echo(request: Any) -> None:
    for message in request.websocket:
        request.websocket.send(message)


echo = websocket(_echo)
large = websocket(**LARGE)(_echo)


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
    elif kind == "pour":
        report("poured", _pour(ws, command["size"]))
    return True


def _pour(ws: Any, size: int) -> bool:
    """Send until it fails, to a peer that reads nothing."""
    message = b"x" * size
    return all(ws.send(message) for _ in range(FLOOD))


@websocket(**TALK)
def talk(request: Any) -> None:
    """Do what the messages say; report the beginning and the end."""
    report, ws = Report(request), request.websocket
    report("open", about(request, ws))
    try:
        while _act(ws, json.loads(ws.receive()), report):
            pass
    except WebSocketClosed as closed:
        report("closed", [closed.code, closed.reason])
        raise
    finally:
        report("end")


@websocket(**BOUNDED)
def bounded(request: Any) -> None:
    """Join a group, and lose its oldest messages when the peer is slow."""
    report, ws = Report(request), request.websocket
    ws.join(request.GET["group"])
    report("open")
    for message in ws:
        ws.send(message)
    report("dropped", ws.stats["dropped_messages"])


VIEWS = {"echo": echo, "large": large, "talk": talk, "bounded": bounded}

"""A site that is watched."""

from __future__ import annotations

import os
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from dwebsocket import hub, monitor, websocket


def ping(request: HttpRequest) -> HttpResponse:
    """Answer the tests' question whether the server is up."""
    return HttpResponse("pong")


def info(request: HttpRequest) -> JsonResponse:
    """Say which process this is."""
    return JsonResponse({"pid": os.getpid()})


@websocket
def echo(request: Any) -> None:
    """Say which process this is, then send back what comes."""
    request.websocket.send(str(os.getpid()))
    for message in request.websocket:
        request.websocket.send(message)


@websocket
def room(request: Any) -> None:
    """Send what comes to everybody in the room, in all processes."""
    request.websocket.join("room")
    request.websocket.send("joined")
    for message in request.websocket:
        hub.group("room").send(message)


@websocket
def broken(request: Any) -> None:
    """Fail at the first message."""
    request.websocket.wait()
    raise ZeroDivisionError


urlpatterns = [
    path("ping", ping),
    path("info", info),
    path("echo", echo),
    path("room", room),
    path("broken", broken),
    path("metrics", monitor.metrics),
    path("machine", monitor.metrics, {"scope": "machine"}),
    path("live", monitor.live),
    path("ready", monitor.ready),
]

"""The views for ``floods.py``: of the flooders and of their neighbour."""

from __future__ import annotations

import json
import time

from django.http import HttpRequest, HttpResponse

from dwebsocket import websocket

PART = b"x" * 65536


def hello(request: HttpRequest) -> HttpResponse:
    """Answer plain HTTP."""
    return HttpResponse("hello")


@websocket
def echo(request: HttpRequest) -> None:
    """Send every message back."""
    for message in request.websocket:
        request.websocket.send(message)


@websocket
def discard(request: HttpRequest) -> None:
    """Discard every message."""
    for _ in request.websocket:
        pass


@websocket
def think(request: HttpRequest) -> None:
    """Do some work for every message."""
    for message in request.websocket:
        for _ in range(20):
            json.loads(json.dumps({"message": message}))


@websocket
def bye(request: HttpRequest) -> None:
    """Close at once."""
    request.websocket.close()


@websocket
def download(request: HttpRequest) -> None:
    """Send as much as the peer takes."""
    while not request.websocket.is_closed():
        request.websocket.send(PART)


@websocket
def hold(request: HttpRequest) -> None:
    """Read nothing until the peer has gone."""
    while not request.websocket.is_closed():
        time.sleep(0.1)

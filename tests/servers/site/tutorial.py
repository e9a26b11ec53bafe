"""The tutorial's two forms: an echo and a chat over a module-level list."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from dwebsocket.decorators import accept_websocket

users: list[Any] = []


@accept_websocket
def echo(request: Any) -> HttpResponse | None:
    """Send back what comes."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    while True:
        message = request.websocket.wait()
        if message is None:
            break
        request.websocket.send(message)
    return None


@accept_websocket
def chat(request: Any) -> HttpResponse | None:
    """Send what comes to everybody."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    users.append(request.websocket)
    while True:
        message = request.websocket.wait()
        if message is None:
            break
        for user in users:
            user.send(message)
    users.remove(request.websocket)
    return None


def members(request: HttpRequest) -> HttpResponse:
    """Return how many users the chat has."""
    return HttpResponse(str(len(users)))

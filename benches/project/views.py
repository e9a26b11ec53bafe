"""The views that are measured: the same source runs on every version of the package."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from dwebsocket import accept_websocket

listeners = []


def hello(request: HttpRequest) -> HttpResponse:
    """Answer plain HTTP."""
    return HttpResponse("hello")


@accept_websocket
def echo(request):
    """Send every message back."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    while True:
        message = request.websocket.wait()
        if message is None:
            break
        request.websocket.send(message)


@accept_websocket
def listen(request):
    """Receive the messages that the plain loop sends."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    listeners.append(request.websocket)
    while request.websocket.wait() is not None:
        pass
    listeners.remove(request.websocket)


@accept_websocket
def loop(request):
    """Send every message to all listeners, one after the other."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    while True:
        message = request.websocket.wait()
        if message is None:
            break
        for user in listeners:
            user.send(message)

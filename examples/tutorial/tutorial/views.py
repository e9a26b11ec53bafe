"""The two WebSocket views of the tutorial."""

from __future__ import annotations

from django.http import HttpResponse

from dwebsocket import accept_websocket, websocket


@websocket
def ws_test(request):
    """Send every message back to its sender."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    while True:
        message = request.websocket.wait()
        if message is None:
            break
        request.websocket.send(message)


users = []


@accept_websocket
def ws_chat(request):
    """Send every message to all users."""
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

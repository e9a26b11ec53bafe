"""The Django site that the clients talk to."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from dwebsocket import websocket

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    DWEBSOCKET={
        "MAX_MESSAGE_SIZE": 16 * 1024 * 1024,
        **json.loads(os.environ.get("INTEROP_SETTINGS", "{}")),
    },
)

_ended: dict[str, tuple[int | None, str]] = {}
_changed = threading.Condition()


def ping(request: HttpRequest) -> HttpResponse:
    """Answer who waits for the server to start."""
    return HttpResponse("pong")


def page(request: HttpRequest) -> HttpResponse:
    """Answer with an empty page for a browser to open WebSockets from."""
    return HttpResponse("<!doctype html><title>interop</title>")


def ended(request: HttpRequest) -> JsonResponse:
    """Wait for the end of a conversation; answer with its close code and reason."""
    name = request.GET["id"]
    with _changed:
        _changed.wait_for(lambda: name in _ended, 20)
        return JsonResponse(_ended.get(name), safe=False)


def talk(request: Any) -> None:
    """Send back what comes; note the end."""
    ws = request.websocket
    for message in ws:
        ws.send(message)
    with _changed:
        _ended[request.GET["id"]] = ws.close_code, ws.close_reason
        _changed.notify_all()


def leave(request: Any) -> None:
    """Close with the code and reason that the client asks for."""
    request.websocket.close(int(request.GET["code"]), request.GET["reason"])


urlpatterns = [
    path("ping", ping),
    path("", page),
    path("ended", ended),
    path("echo", websocket(talk)),
    path("close", websocket(leave)),
    path("plain/echo", websocket(compression=False)(talk)),
    path("plain/close", websocket(compression=False)(leave)),
]
application = get_wsgi_application()

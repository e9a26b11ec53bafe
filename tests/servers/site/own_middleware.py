"""The middleware of the old package as sites have copied it, and views under it."""

from __future__ import annotations

import threading
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

from dwebsocket.factory import WebSocketFactory


class CopiedMiddleware:
    """Opens every WebSocket before the view is called, in the server's thread."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Do what process_request and process_response did."""
        factory = WebSocketFactory(request)
        request.websocket = factory.create_websocket()
        is_websocket = request.websocket is not None
        request.is_websocket = lambda: is_websocket
        request.thread = threading.get_ident()
        return self.get_response(request)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        """Open it for views that are marked."""
        if request.is_websocket():
            if not getattr(view, "accept_websocket", False):
                return HttpResponseBadRequest()
            request.websocket.accept_connection()
        return None


def echo(request: Any) -> HttpResponse:
    """Echo until "bye"; then answer as if it were HTTP."""
    if not request.is_websocket():
        return HttpResponse("plain")
    assert request.thread == threading.get_ident()
    while True:
        message = request.websocket.wait()
        if message in (None, b"bye"):
            break
        request.websocket.send(message)
    return HttpResponse("x" * 300_000)


def fail(request: Any) -> HttpResponse:
    """Raise."""
    request.websocket.wait()
    raise ZeroDivisionError("on purpose")


def large(request: HttpRequest) -> HttpResponse:
    """Send more than an outbox holds to a peer that reads late."""
    websocket: Any = request.websocket  # type: ignore[attr-defined]
    websocket.wait()
    for _ in range(120):
        assert websocket.send("x" * 100_000)
    return HttpResponse("done")


def other(request: HttpRequest) -> HttpResponse:
    """Be a plain view."""
    return HttpResponse("other")


for view in (echo, fail, large):
    view.accept_websocket = True  # type: ignore[attr-defined]

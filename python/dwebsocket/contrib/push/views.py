"""The view that all pages connect to."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from dwebsocket.decorators import websocket

from .session import PushSession

__all__ = ("socket",)


@websocket
def _serve(request: Any) -> HttpResponse | None:
    if not request.is_websocket():
        return HttpResponse("This address is for WebSockets.\n", status=426)
    PushSession(request.websocket, request).run()
    return None


def socket(request: HttpRequest) -> Any:
    """Serve the WebSocket of a user's page; answer other visitors in plain HTTP."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return HttpResponse("Please log in.\n", status=403)
    return _serve(request)

"""Whether a request asks for a WebSocket, and the two attributes that it gets."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from dwebsocket.conf import settings

__all__ = ("YES", "IsWebSocket", "asks", "factory_of", "mark")


def factory_of(request: HttpRequest) -> Any:
    """Return the project's factory for a request; see the setting ``FACTORY_CLASS``.

    A handshake needs one: it tells a WebSocket, finds the socket, makes the WebSocket.
    """
    return import_string(settings.FACTORY_CLASS)(request)


def asks(request: HttpRequest) -> Any:
    """Return the factory for a request that asks for a WebSocket, None for another."""
    if "HTTP_UPGRADE" not in request.META:
        return None
    factory = factory_of(request)
    return factory if factory.is_websocket() else None


class IsWebSocket:
    """``request.is_websocket``: may be called, or looked at without calling."""

    __slots__ = ("_value", "asked")

    def __init__(self, value: bool) -> None:
        self._value = value
        #: Whether somebody has looked.
        self.asked = False

    def __call__(self) -> bool:
        """Return whether the request is a WebSocket's."""
        self.asked = True
        return self._value

    def __bool__(self) -> bool:
        self.asked = True
        return self._value

    def __repr__(self) -> str:
        return f"<is_websocket: {self._value}>"


YES = IsWebSocket(True)


def mark(request: Any, is_websocket: bool, websocket: Any = None) -> IsWebSocket:
    """Set the request's two attributes, also behind REST framework's wrapper."""
    # On plain HTTP it is noted whether the view asks: one for each request.
    question = YES if is_websocket else IsWebSocket(False)
    while request is not None:
        request.is_websocket = question
        request.websocket = websocket
        request = request.__dict__.get("_request")
    return question

"""Tells whether a request is a handshake, and sets the request's two attributes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from dwebsocket.conf import settings

__all__ = ("YES", "IsWebSocket", "asks", "factory_of", "mark")


def factory_of(request: HttpRequest) -> Any:
    """Return the project's factory for a request; see the setting ``FACTORY_CLASS``.

    Each handshake needs a factory: it recognizes the handshake, finds the socket and
    makes the WebSocket.
    """
    return import_string(settings.FACTORY_CLASS)(request)


def asks(request: HttpRequest) -> Any:
    """Return the factory if a request asks for a WebSocket, else None."""
    if "HTTP_UPGRADE" not in request.META:
        return None
    factory = factory_of(request)
    return factory if factory.is_websocket() else None


class IsWebSocket:
    """``request.is_websocket``: works as a method and, without a call, as a bool."""

    __slots__ = ("_value", "asked")

    def __init__(self, value: bool) -> None:
        self._value = value
        #: Whether the view has read the value.
        self.asked = False

    def __call__(self) -> bool:
        """Return whether the request is a WebSocket handshake."""
        self.asked = True
        return self._value

    def __bool__(self) -> bool:
        self.asked = True
        return self._value

    def __repr__(self) -> str:
        return f"<is_websocket: {self._value}>"


YES = IsWebSocket(True)


def mark(request: Any, is_websocket: bool, websocket: Any = None) -> IsWebSocket:
    """Set ``is_websocket`` and ``websocket``, also behind REST framework's wrapper."""
    # A plain request gets an object of its own, which notes whether the view reads it.
    question = YES if is_websocket else IsWebSocket(False)
    while request is not None:
        request.is_websocket = question
        request.websocket = websocket
        request = request.__dict__.get("_request")
    return question

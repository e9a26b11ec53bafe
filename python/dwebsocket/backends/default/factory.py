"""The default factory."""

from __future__ import annotations

from dwebsocket import factory

from .websocket import DefaultWebSocket

__all__ = ("WebSocketFactory",)


class WebSocketFactory(factory.WebSocketFactory):
    """Makes a :class:`~dwebsocket.backends.default.websocket.DefaultWebSocket`."""

    websocket_class = DefaultWebSocket

"""The default WebSocket class."""

from __future__ import annotations

from dwebsocket.websocket import WebSocket

__all__ = ("DefaultWebSocket",)


class DefaultWebSocket(WebSocket):
    """The WebSocket that views get by default."""

    __slots__ = ()

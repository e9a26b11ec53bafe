"""The default WebSocket class."""

from __future__ import annotations

from dwebsocket.websocket.base import Received
from dwebsocket.websocket.sync import WebSocket

__all__ = ("DefaultWebSocket",)


class DefaultWebSocket(WebSocket[Received]):
    """The WebSocket that views get by default."""

    __slots__ = ()

"""Test WebSocket views with Django's test client, without a server.

    with connect(self.client, "/ws/chat/") as ws:
        ws.send("hello")
        self.assertEqual(ws.receive(), "hello")

See docs/testing.md. The package itself never imports this.
"""

from __future__ import annotations

from .aio import AsyncClientWebSocket, aconnect
from .cleaning import reset
from .errors import ViewNotEnded, WebSocketRefused
from .handshake import connect
from .websocket import ClientWebSocket

__all__ = (
    "AsyncClientWebSocket",
    "ClientWebSocket",
    "ViewNotEnded",
    "WebSocketRefused",
    "aconnect",
    "connect",
    "reset",
)

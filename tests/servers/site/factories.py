"""A project's own factory and WebSocket class, as the old documentation shows."""

from __future__ import annotations

from typing import Any

from dwebsocket.backends.default.factory import WebSocketFactory
from dwebsocket.backends.default.websocket import DefaultWebSocket


class CountingWebSocket(DefaultWebSocket):
    """Counts what it sends."""

    sent = 0

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """Send and count."""
        self.sent += 1
        return super().send(*args, **kwargs)


class CountingFactory(WebSocketFactory):
    """Makes them."""

    websocket_class = CountingWebSocket

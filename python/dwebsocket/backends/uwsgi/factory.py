"""The factory that old settings name for uWSGI; finders now recognize every server."""

from __future__ import annotations

from dwebsocket.backends.default.factory import WebSocketFactory

__all__ = ("uWsgiWebSocketFactory",)


class uWsgiWebSocketFactory(WebSocketFactory):
    """The same as the default factory."""

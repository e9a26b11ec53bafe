"""The factory that old settings name for uWSGI; every server is found by itself now."""

from __future__ import annotations

from dwebsocket.backends.default.factory import WebSocketFactory

__all__ = ("uWsgiWebSocketFactory",)


class uWsgiWebSocketFactory(WebSocketFactory):
    """The same as the default factory."""

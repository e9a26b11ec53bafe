"""WebSockets for Django on WSGI servers, from plain synchronous views.

The whole of an echo service::

    @websocket
    def echo(request):
        for message in request.websocket:
            request.websocket.send(message)
"""

from __future__ import annotations

from . import hub, push, signals
from ._engine import __version__
from .decorators import accept_websocket, require_websocket, websocket
from .exceptions import (
    ConfigurationError,
    HandshakeError,
    ReceiveTimeout,
    SocketUnavailable,
    WebSocketClosed,
    WebSocketEOF,
    WebSocketException,
)

__all__ = (
    "ConfigurationError",
    "HandshakeError",
    "ReceiveTimeout",
    "SocketUnavailable",
    "WebSocketClosed",
    "WebSocketEOF",
    "WebSocketException",
    "__version__",
    "accept_websocket",
    "hub",
    "push",
    "require_websocket",
    "signals",
    "websocket",
)

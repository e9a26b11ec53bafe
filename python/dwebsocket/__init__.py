"""WebSockets for Django on WSGI servers, from plain synchronous views.

A complete echo service::

    @websocket
    def echo(request):
        for message in request.websocket:
            request.websocket.send(message)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hub, push, signals
from ._engine import __version__
from .decorators import accept_websocket, require_websocket
from .exceptions import (
    ConfigurationError,
    HandshakeError,
    PeerGone,
    ReceiveTimeout,
    SocketUnavailable,
    WebSocketClosed,
    WebSocketEOF,
    WebSocketException,
)

if TYPE_CHECKING:
    from .decorators import DecoratorModule

    websocket: DecoratorModule
else:
    # This name is a module that is also callable as the decorator, because old code
    # uses dwebsocket.websocket.WebSocket.
    from . import websocket

__all__ = (
    "ConfigurationError",
    "HandshakeError",
    "PeerGone",
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

"""WebSockets for Django on WSGI servers, from synchronous and asynchronous views.

A complete echo service::

    @websocket
    def echo(request):
        for message in request.websocket:
            request.websocket.send(message)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    from . import asgi as asgi
    from . import channels as channels
    from . import middleware as middleware
    from . import monitor as monitor
    from . import session as session
    from . import testing as testing
    from .classes import WebSocketView, on
    from .conf.view_options import ViewOptions
    from .decorating import DecoratorModule
    from .request import (
        AsyncWebSocketRequest,
        ClassicAsyncWebSocketRequest,
        ClassicWebSocketRequest,
        WebSocketRequest,
    )
    from .websocket.aio import AsyncWebSocket

    websocket: DecoratorModule
else:
    # This name is a module that is also callable as the decorator, because old code
    # uses dwebsocket.websocket.WebSocket.
    from . import websocket

#: Types for annotations, and classes with handlers: imported when they are asked for,
#: by their modules.
_TYPES = {
    "AsyncWebSocket": "websocket.aio",
    "AsyncWebSocketRequest": "request",
    "ClassicAsyncWebSocketRequest": "request",
    "ClassicWebSocketRequest": "request",
    "ViewOptions": "conf.view_options",
    "WebSocketRequest": "request",
    "WebSocketView": "classes",
    "on": "classes",
}

#: Public modules that most sites do without: imported when they are asked for, so that
#: ``import dwebsocket`` is enough for ``dwebsocket.asgi.application(...)``.
_MODULES = ("asgi", "channels", "middleware", "monitor", "session", "testing")

__all__ = (
    "AsyncWebSocket",
    "AsyncWebSocketRequest",
    "ClassicAsyncWebSocketRequest",
    "ClassicWebSocketRequest",
    "ConfigurationError",
    "HandshakeError",
    "PeerGone",
    "ReceiveTimeout",
    "SocketUnavailable",
    "ViewOptions",
    "WebSocketClosed",
    "WebSocketEOF",
    "WebSocketException",
    "WebSocketRequest",
    "WebSocketView",
    "__version__",
    "accept_websocket",
    "hub",
    "on",
    "push",
    "require_websocket",
    "signals",
    "websocket",
)


# To type checkers, a __getattr__() would have every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        module = _TYPES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)

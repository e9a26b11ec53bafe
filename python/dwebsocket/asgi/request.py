"""The request of a WebSocket's handshake under ASGI."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from django.core.handlers.asgi import ASGIRequest

from dwebsocket import servers
from dwebsocket.servers.workers import workers

from .protocol import Scope

__all__ = ("HandshakeRequest",)

_SCHEMES = {"ws": "http", "wss": "https"}

#: A handshake of HTTP/1.1, whatever the server speaks: the server has checked its own.
#: (HTTP/2 has none of these headers, and the key is nobody's then.)
_HEAD = {
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class HandshakeRequest(ASGIRequest):
    """Django's request for the scope of a WebSocket.

    Args:
        scope: The scope.
        hold: Returns the way to the peer; see :func:`dwebsocket.servers.holder`.
    """

    def __init__(self, scope: Scope, hold: Callable[[], servers.Line]) -> None:
        super().__init__({**scope, "method": "GET"}, io.BytesIO())
        meta: dict[str, Any] = self.META
        for name, value in _HEAD.items():
            meta.setdefault(name, value)
        offered = scope.get("subprotocols")
        if offered:
            meta.setdefault("HTTP_SEC_WEBSOCKET_PROTOCOL", ", ".join(offered))
        meta["wsgi.multiprocess"] = workers() > 1
        meta["wsgi.url_scheme"] = self._get_scheme()
        meta[servers.LINE] = hold

    def _get_scheme(self) -> str:
        """Return the scheme of the page's URL: that of HTTP, as other code expects."""
        scheme = str(self.scope.get("scheme") or "ws")
        return _SCHEMES.get(scheme, scheme)

    def close(self) -> None:
        """Close what was uploaded, but not the empty body: a view may still read it."""
        super(ASGIRequest, self).close()

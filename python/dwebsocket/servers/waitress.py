"""waitress: the socket is in the channel behind ``waitress.client_disconnected``."""

from __future__ import annotations

from typing import Any

from dwebsocket.exceptions import SocketUnavailable

from .base import Environ, ServerSocket, from_socket

__all__ = ("find",)

_LOOKAHEAD = (
    "waitress reads on while a request is answered (channel_request_lookahead), and "
    "would take WebSocket frames for requests. Leave that option at its default of 0."
)


def find(environ: Environ) -> ServerSocket | None:
    """Find it through the bound method that waitress puts into the environ."""
    check = environ.get("waitress.client_disconnected")
    channel: Any = getattr(check, "__self__", None)
    sock = getattr(channel, "socket", None)
    if sock is None:
        return None
    if channel.adj.channel_request_lookahead:
        raise SocketUnavailable(_LOOKAHEAD)

    def leftover() -> bytes:
        with channel.requests_lock:
            ahead, channel.request = channel.request, None
        return bytes(ahead.header_plus) if ahead is not None else b""

    return from_socket(sock, leftover)

"""A WebSocket that a site's own middleware has created but not yet opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from dwebsocket import conf

from .endpoint import of

__all__ = ("Unopened", "become", "create", "is_open", "open_by")

#: Opens the connection of a WebSocket for a request; set by the transport.
_opener: Callable[[HttpRequest, Any], None] | None = None


def open_by(opener: Callable[[HttpRequest, Any], None]) -> None:
    """Make ``accept_connection()`` call ``opener(request, websocket)``."""
    global _opener
    _opener = opener


class Unopened:
    """Stands in for the engine's connection until ``accept_connection()``.

    Args:
        request: The handshake.
    """

    id = 0
    ended = False
    close_code: int | None = None
    close_reason = ""
    pending = 0
    latency: float | None = None
    groups: tuple[str, ...] = ()

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def close(self, code: int, reason: str) -> bool:
        """Do nothing: there is no connection to close."""
        return False

    def receive(self, timeout: float | None = None) -> Any:
        """Raise RuntimeError."""
        self._complain()

    def send(self, *args: Any) -> Any:
        """Raise RuntimeError."""
        self._complain()

    def __getattr__(self, name: str) -> Any:
        self._complain()

    @staticmethod
    def _complain() -> Any:
        raise RuntimeError("This WebSocket is not open: call accept_connection() first")

    def accept(self, websocket: Any) -> None:
        """Open the connection of a WebSocket.

        Raises:
            HandshakeError: The handshake is not acceptable.
            PermissionDenied: The Origin is not allowed.
            SocketUnavailable: The server's socket cannot be taken over, or there are
                too many connections.
        """
        if of(websocket).closed:
            raise RuntimeError("This WebSocket was closed before it was accepted")
        if _opener is not None:
            _opener(self.request, websocket)


def create(factory: Any) -> Any:
    """Return a WebSocket that is not open yet; None for a plain request.

    If the request has an open WebSocket already, return that one.
    """
    if not factory.is_websocket():
        return None
    found = getattr(factory.request, "websocket", None)
    if is_open(found):
        return found
    profile = conf.profile("classic")
    stand_in: Any = Unopened(factory.request)
    return factory.websocket_class(
        stand_in,
        modern=profile.modern,
        overflow=profile.overflow,
        send_timeout=profile.send_timeout,
    )


def is_open(websocket: Any) -> bool:
    """Return whether ``websocket`` is a WebSocket that has a connection."""
    if websocket is None:
        return False
    endpoint = getattr(websocket, "_endpoint", None)
    return not isinstance(getattr(endpoint, "connection", None), Unopened)


def become(websocket: Any, opened: Any) -> None:
    """Let a WebSocket use the connection that was opened for it."""
    taken = of(opened)
    of(websocket).use(taken.connection, taken.port)
    websocket.subprotocol = opened.subprotocol
    websocket.remote_address = opened.remote_address

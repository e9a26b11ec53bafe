"""What stands in for a connection until a view has accepted it by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from dwebsocket.exceptions import WebSocketClosed

__all__ = ("LOST", "Headers", "Pending", "accepting")

#: What ``accept(headers=...)`` takes.
Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_CLOSED = (
    "This WebSocket is not open yet, so it has nothing to close: return a response "
    "instead, such as HttpResponseForbidden(), and the client gets that."
)
_NOT_YET = (
    "This WebSocket is not open yet: write '{}request.websocket.accept()' first, or "
    'return a response. (The view has accept="manual".)'
)
LOST = (
    "the handshake has failed after accept(): a middleware has returned another "
    "response or has raised an exception, or the client has gone"
)
_OPEN = (
    "This WebSocket is open already. A view accepts it once, and only if its decorator "
    'has the argument accept="manual".'
)


class Pending:
    """Stands in for the engine's connection until ``accept()``.

    Args:
        call: The view's call, which accepts.
        number: The number of the connection until it is open.
    """

    ended = False
    close_code: int | None = None
    close_reason = ""
    pending = 0
    latency: float | None = None
    groups: tuple[str, ...] = ()
    member_id = ""

    def __init__(self, call: Any, number: int) -> None:
        self.call = call
        self.id = number
        #: Whether there will be no connection, although the view has accepted.
        self.lost = False
        #: The arguments for the port of an asynchronous view.
        self.port_options: tuple[str, float | None] = ("auto", None)

    def port(self, overflow: str, timeout: float | None) -> Pending:
        """Return this object in place of the port of an asynchronous view."""
        self.port_options = overflow, timeout
        return self

    def receive(self, *args: Any) -> Any:
        """Raise RuntimeError."""
        self._complain()

    def send(self, *args: Any) -> Any:
        """Raise RuntimeError."""
        self._complain()

    # For an asynchronous view, this object is the port as well.
    wait = offer = at_end = receive

    def close(self, code: int, reason: str) -> bool:
        """Raise RuntimeError: a refusal is a response."""
        if self.lost:
            return False
        raise RuntimeError(_CLOSED)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._complain()

    def _complain(self) -> Any:
        if self.lost:
            raise WebSocketClosed(1006, LOST)
        raise RuntimeError(_NOT_YET.format("await " * self.call.asynchronous))


def accepting(endpoint: Any) -> Any:
    """Return the call of the view that is to accept a WebSocket.

    Raises:
        RuntimeError: The WebSocket is open.
    """
    connection = endpoint.connection
    if not isinstance(connection, Pending):
        raise RuntimeError(_OPEN)
    return connection.call

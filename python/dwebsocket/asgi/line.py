"""The way to the peer of a WebSocket's scope, as the handoff uses it."""

from __future__ import annotations

from dwebsocket import _engine, servers

from .carrier import Carrier
from .protocol import Event, Send
from .reaching import Reached, reach

__all__ = ("Line",)

#: Headers of the 101 that the server writes itself.
_SERVERS_OWN = frozenset(
    {
        b"upgrade",
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-protocol",
        b"sec-websocket-extensions",
    }
)


class Taken(servers.Held):
    """A socket that is taken away from the ASGI server.

    Args:
        server: The socket.
        line: The line, which is told.
    """

    __slots__ = ("_line",)

    def __init__(self, server: servers.ServerSocket, line: Line) -> None:
        super().__init__(server)
        self._line = line

    def adopt(self) -> _engine.Adoption:
        """Take the socket; see :meth:`dwebsocket.servers.Held.adopt`."""
        adoption = super().adopt()
        self._line.taken = True
        return adoption


class Queued:
    """A peer whose messages the ASGI server carries.

    Args:
        line: The line, which gets the far end of the connection.
    """

    transport = "queue"

    def __init__(self, line: Line) -> None:
        self._line = line

    def adopt(self) -> Queued:
        """Return this object: nothing is taken away from the server."""
        return self

    def leftover(self) -> bytes:
        """Return no bytes: the server has kept them."""
        return b""

    def close(self) -> None:
        """Do nothing: the line belongs to the server's task."""

    def start(
        self,
        head: bytes,
        leftover: bytes,
        handshake: _engine.Handshake,
        options: _engine.Options,
        permit: _engine.Permit,
        event_loop: _engine.EventLoop
        | _engine.TaskLoop
        | _engine.HandlerPool
        | None = None,
    ) -> _engine.Connection:
        """Start the connection; the server's task answers the handshake."""
        line = self._line
        connection, line.far = _engine.connect_queue(
            options, permit, line.carrier.queue, line.carrier.token, event_loop
        )
        line.accepted = _accept(head)
        line.patience = options.close_timeout
        return connection


class Line:
    """One WebSocket of an ASGI server, before it is open; made in the server's loop.

    Args:
        send: The server's function.
        adopt: Whether to take the socket over where there is a way to it.

    Raises:
        OSError: The process has no descriptor left.
    """

    def __init__(self, send: Send, adopt: bool) -> None:
        self.carrier = Carrier()
        self._reached: Reached | None = reach(send) if adopt else None
        #: Whether the engine has the socket.
        self.taken = False
        #: The peer's end of the connection, if the server carries its messages.
        self.far: _engine.FarEnd | None = None
        #: The event that accepts the handshake then.
        self.accepted: Event = {"type": "websocket.accept"}
        #: The view's ``CLOSE_TIMEOUT``.
        self.patience = 0.0

    def hold(self) -> servers.Line:
        """Return the peer, for a view that is about to start.

        Raises:
            OSError: See :class:`dwebsocket.servers.Held`.
        """
        found = None if self._reached is None else self._reached.socket()
        return Queued(self) if found is None else Taken(found, self)

    @property
    def is_open(self) -> bool:
        """Whether the WebSocket has been opened."""
        return self.taken or self.far is not None

    def resume(self) -> None:
        """Let the server read again; after :attr:`taken`, it reads the end."""
        reached, self._reached = self._reached, None
        if reached is not None:
            reached.resume()

    def close(self) -> None:
        """Release what belongs to the loop."""
        self.resume()
        self.carrier.close()
        if self.far is not None:
            self.far.hang_up()


def _accept(head: bytes) -> Event:
    """Return the event that has the server answer with this head of a 101."""
    headers = []
    subprotocol = None
    for line in head.rstrip().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if name == b"sec-websocket-protocol":
            subprotocol = value.decode("latin-1")
        if name not in _SERVERS_OWN:
            headers.append((name, value))
    return {
        "type": "websocket.accept",
        "subprotocol": subprotocol,
        "headers": headers,
    }

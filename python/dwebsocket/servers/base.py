"""A request's socket as the WSGI server knows it, and a second descriptor of it."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeAlias

from dwebsocket import _engine
from dwebsocket.exceptions import SocketUnavailable

__all__ = (
    "ClientGone",
    "Environ",
    "Finder",
    "Held",
    "ServerSocket",
    "SocketBusy",
    "buffered",
    "from_socket",
    "nothing",
    "release_with",
)

Environ: TypeAlias = dict[str, Any]


class ClientGone(Exception):
    """The server knows already that the client is gone, and ends the request itself."""


class SocketBusy(OSError):
    """The server still has to send bytes of its response to an earlier request."""


def nothing() -> bytes:
    """Return no bytes: the leftover of a server that never reads ahead."""
    return b""


class ServerSocket(NamedTuple):
    """A request's socket, as the WSGI server knows it.

    Args:
        fd: The server's file descriptor.
        leftover: Returns the bytes that the server has read past the request. Called
            after ``fd`` has been taken over and reads as the end of the file.
        epoll_fd: The epoll instance in which the server's event loop may still have
            ``fd`` registered, if there is one.
        sock: The server's socket object, if it has one. The socket is only taken while
            ``sock.fileno()`` is ``fd``.
        guard: Returns a context manager in which the server does not close ``fd`` in
            another thread. The context is entered twice: when the handshake is checked,
            and when the socket is taken.
    """

    fd: int
    leftover: Callable[[], bytes] = nothing
    epoll_fd: int | None = None
    sock: Any = None
    guard: Callable[[], AbstractContextManager[Any]] = nullcontext


Finder: TypeAlias = Callable[[Environ], "ServerSocket | None"]

_TLS = (
    "The WSGI server itself speaks TLS on this socket, and dwebsocket can only take "
    "over a plain one. Let a reverse proxy (nginx, say) do the TLS and talk to the "
    "WSGI server in plain HTTP."
)


def buffered(reader: Any) -> Callable[[], bytes]:
    """Return a leftover function: it empties a buffered reader at the end of file."""

    def leftover() -> bytes:
        try:
            return bytes(reader.read() or b"")
        except (OSError, ValueError):
            # A reader that had a timeout or was closed returns nothing more.
            return b""

    return leftover


def gevent_epoll(sock: Any) -> int | None:
    """Return the epoll descriptor of gevent's loop for one of its sockets."""
    if not type(sock).__module__.startswith("gevent."):
        return None
    hub = sys.modules["gevent"].get_hub()
    fileno = getattr(hub.loop, "fileno", None)
    return None if fileno is None else fileno()


def from_socket(
    sock: Any, leftover: Callable[[], bytes] = nothing
) -> ServerSocket | None:
    """Return the ServerSocket for a socket object, or None if it is closed.

    Raises:
        SocketUnavailable: The socket is wrapped in TLS.
    """
    if hasattr(sock, "do_handshake"):
        raise SocketUnavailable(_TLS)
    fd = sock.fileno()
    if fd < 0:
        return None
    return ServerSocket(fd, leftover, gevent_epoll(sock), sock)


#: The key of a request's environ under which an ASGI server's way to the peer is. A
#: header of a client cannot get there: its key would begin with HTTP_.
LINE = "dwebsocket.line"


class Opened(Protocol):
    """A peer that the server has given away, before it becomes a connection."""

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
        """Answer the handshake and start the connection."""


class Line(Protocol):
    """The way to the peer of an accepted handshake, held until the view starts."""

    #: How the peer is reached, for the monitor: "socket" or "queue".
    transport: str

    def adopt(self) -> Opened:
        """Take the peer over from the server; see :meth:`Held.adopt`."""

    def leftover(self) -> bytes:
        """Return the bytes that the server has read past the request; after adopt()."""

    def close(self) -> None:
        """Free what adopt() has not used."""


class Held:
    """A second descriptor of a request's socket, until the view starts.

    The server may close its descriptor while middleware still works on the response.
    The system then gives the same number to the next client. So the number alone is
    never trusted: a second descriptor is made while the socket is known to be open,
    and the two are compared right before the server's descriptor is replaced.

    Args:
        server: Where the server keeps the socket.

    Raises:
        OSError: The socket is closed or is not that of a connection, or the system has
            no descriptor left.
        SocketBusy: The server has not sent the answer to an earlier request yet.
        ClientGone: The server has found out that the client is gone.
    """

    transport = "socket"

    __slots__ = ("__weakref__", "_own", "_server")

    def __init__(self, server: ServerSocket) -> None:
        self._server: ServerSocket | None = server
        with server.guard():
            self._own = _engine.hold(server.fd, server.sock)

    def adopt(self) -> _engine.Adoption:
        """Take the socket away from the server.

        Raises:
            OSError: The server has closed its descriptor, or the system has no
                descriptor left.
            SocketBusy: As for the constructor.
            ClientGone: As for the constructor.
        """
        server = self._server
        if server is None:
            raise OSError("this socket was released before")
        try:
            with server.guard():
                return self._own.adopt(server.fd, server.epoll_fd, server.sock)
        finally:
            # If the socket was not adopted, only the server keeps it.
            self._own.close()

    def leftover(self) -> bytes:
        """Return the bytes that the server has read past the request; after adopt()."""
        server, self._server = self._server, None
        return b"" if server is None else server.leftover()

    def close(self) -> None:
        """Close the second descriptor, unless the socket is adopted."""
        self._server = None
        self._own.close()


class _Closable(Protocol):
    def close(self) -> None: ...


def _close(request: weakref.ref[Any], owner: weakref.ref[_Closable]) -> None:
    closable, inner = owner(), request()
    if closable is not None:
        closable.close()
    if inner is not None:
        type(inner).close(inner)


def release_with(request: Any, owner: _Closable) -> None:
    """Close the owner of a second descriptor when the request ends, if not earlier.

    Django calls ``request.close`` when the server closes the response, even a response
    with which middleware has replaced ours.
    """
    while "_request" in request.__dict__:
        request = request.__dict__["_request"]
    # Weak references keep the request out of a reference cycle, and let our response
    # close the descriptor as soon as middleware drops the response.
    request.close = functools.partial(_close, weakref.ref(request), weakref.ref(owner))

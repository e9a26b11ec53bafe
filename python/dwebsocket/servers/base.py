"""What a finder returns, and what several of them need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeAlias

from dwebsocket.exceptions import SocketUnavailable

__all__ = (
    "ClientGone",
    "Environ",
    "Finder",
    "ServerSocket",
    "SocketBusy",
    "buffered",
    "from_socket",
    "nothing",
)

Environ: TypeAlias = dict[str, Any]


class ClientGone(Exception):
    """The server has found out that the client is gone, and ends the request itself."""


class SocketBusy(OSError):
    """The server still has bytes to send that belong to an earlier request."""


def nothing() -> bytes:
    """Return no bytes: the leftover of a server that never reads ahead."""
    return b""


class ServerSocket(NamedTuple):
    """A request's socket, as its server knows it.

    Args:
        fd: The server's file descriptor.
        leftover: Returns the bytes that the server has read past the request. Called
            once ``fd`` has been taken over and reads as the end of the file.
        epoll_fd: The epoll instance in which the server's event loop may still have
            ``fd`` registered, if there is one.
        sock: The server's socket object, if it has one. The socket is only taken while
            ``sock.fileno()`` is ``fd``.
        guard: Returns a context manager in which the server does not close ``fd`` in
            another thread. It is entered twice: when the handshake is checked, and
            when the socket is taken.
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
    """Return a function that empties a buffered reader whose source is at its end."""

    def leftover() -> bytes:
        try:
            return bytes(reader.read() or b"")
        except (OSError, ValueError):
            # A reader that met a timeout or was closed has nothing more to give.
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

"""What a finder returns, and what several of them need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from dwebsocket.exceptions import SocketUnavailable

__all__ = ("Environ", "Finder", "ServerSocket", "buffered", "from_socket", "nothing")

Environ: TypeAlias = dict[str, Any]


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
    """

    fd: int
    leftover: Callable[[], bytes] = nothing
    epoll_fd: int | None = None


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
    return ServerSocket(fd, leftover, gevent_epoll(sock))

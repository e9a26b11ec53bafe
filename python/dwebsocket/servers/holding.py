"""A request's socket, owned from the checks of the handshake until the view starts.

Middleware may take its time with the response, and the server may close its descriptor
meanwhile. The system then gives the same number to the next client. So the number alone
is never trusted: a second descriptor is made while the socket is known to be open, and
the two are compared right before the server's one is replaced.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, Protocol

from dwebsocket import _engine

from .base import ServerSocket

__all__ = ("Held", "release_with")


class Held:
    """A second descriptor of a request's socket.

    Args:
        server: Where the server keeps the socket.

    Raises:
        OSError: The socket is closed, is none of a connection, or no descriptor is
            left.
        SocketBusy: The server has not sent the answer to an earlier request yet.
        ClientGone: The server has found out that the client is gone.
    """

    __slots__ = ("__weakref__", "_own", "_server")

    def __init__(self, server: ServerSocket) -> None:
        self._server: ServerSocket | None = server
        with server.guard():
            self._own = _engine.hold(server.fd, server.sock)

    def adopt(self) -> _engine.Adoption:
        """Take the socket away from the server.

        Raises:
            OSError: The server has closed its descriptor, or no descriptor is left.
            SocketBusy: As for the constructor.
            ClientGone: Likewise.
        """
        server = self._server
        if server is None:
            raise OSError("this socket was let go before")
        try:
            with server.guard():
                return self._own.adopt(server.fd, server.epoll_fd, server.sock)
        finally:
            # A socket that was not adopted stays with the server alone.
            self._own.close()

    def leftover(self) -> bytes:
        """Return what the server has read past the request, once it is adopted."""
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
    """Close what owns the second descriptor at the end of the request at the latest.

    Django calls ``request.close`` when the server closes the response, whichever it is:
    also one that middleware has put in the place of ours.
    """
    while "_request" in request.__dict__:
        request = request.__dict__["_request"]
    # Weak references: the request is in no cycle, and a response of ours that nobody
    # keeps closes the descriptor at once.
    request.close = functools.partial(_close, weakref.ref(request), weakref.ref(owner))

"""The finder for Django's test client: a test adds a socket to its request."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from dwebsocket.exceptions import SocketUnavailable

from .base import Environ, ServerSocket, from_socket

__all__ = ("KEY", "Line", "find", "runner")

#: The key of the environ under which ``dwebsocket.testing`` puts a Line. A header of a
#: client cannot get there: its key would begin with HTTP_.
KEY = "dwebsocket.testing"

_NO_SOCKET = (
    "Django's test client has no socket; test a WebSocket with "
    "'with dwebsocket.testing.connect(client, path) as ws:'."
)


class Line(NamedTuple):
    """What a test adds to a request.

    Args:
        sock: The server's end of a socket pair.
        runner: Returns the runner (:class:`dwebsocket.runners.Runner`) of the view;
            it gets whether the view is asynchronous.
    """

    sock: socket.socket
    runner: Any


def find(environ: Environ) -> ServerSocket | None:
    """Find the socket that a test has added to the request.

    Raises:
        SocketUnavailable: The request is one of Django's test client, without a socket.
    """
    line = environ.get(KEY)
    if isinstance(line, Line):
        return from_socket(line.sock)
    if type(environ.get("wsgi.input")).__module__ == "django.test.client":
        raise SocketUnavailable(_NO_SOCKET)
    return None


def runner(environ: Environ, asynchronous: bool) -> Any:
    """Return the runner that a test has chosen; None outside of tests.

    Args:
        environ: The environ.
        asynchronous: Whether the view is.
    """
    line = environ.get(KEY)
    return line.runner(asynchronous) if isinstance(line, Line) else None

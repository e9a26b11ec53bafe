"""The finder for gunicorn: workers sync, gthread and gevent."""

from __future__ import annotations

import sys
from typing import Any

from dwebsocket.exceptions import SocketUnavailable

from .base import Environ, ServerSocket, from_socket

__all__ = ("find",)

_EVENTLET = (
    "dwebsocket does not run under eventlet. Start gunicorn with "
    "--worker-class gthread or gevent."
)


def _unreader(body: Any) -> Any:
    return getattr(getattr(body, "reader", None), "unreader", None)


def find(environ: Environ) -> ServerSocket | None:
    """Find the socket in ``environ["gunicorn.socket"]``."""
    sock = environ.get("gunicorn.socket")
    if sock is None:
        return None
    if "eventlet" in sys.modules and type(sock).__module__.startswith("eventlet."):
        raise SocketUnavailable(_EVENTLET)
    body: Any = environ.get("wsgi.input")
    unreader = _unreader(body)

    def leftover() -> bytes:
        if hasattr(body, "failed"):
            # No request follows, so gunicorn need not keep the connection and wait for
            # one: a thread of its pool would be called to read the end of the file.
            body.failed = True
        buffer = getattr(unreader, "buf", None)
        if buffer is None:
            return b""
        data: bytes = buffer.getvalue()
        # Empty the buffer: the server would take these bytes for its next request.
        buffer.seek(0)
        buffer.truncate()
        return data

    return from_socket(sock, leftover)

"""The finder for servers whose ``wsgi.input`` wraps a buffered reader of the socket.

These are Django's runserver and live test server, wsgiref, werkzeug, gevent pywsgi and
cheroot.
"""

from __future__ import annotations

from typing import Any

from .base import Environ, ServerSocket, buffered, from_socket, nothing

__all__ = ("find",)

#: Paths of attributes that lead from ``wsgi.input`` to the buffered reader.
_READERS: tuple[tuple[str, ...], ...] = (
    (),  # wsgiref, werkzeug
    ("_read", "__self__"),  # Django's LimitedStream, which runserver uses
    ("rfile",),  # gevent pywsgi, cheroot
    ("rfile", "rfile"),  # cheroot, while it counts the bytes of the header
    ("stream",),  # LimitedStream of Django before 4.2
)


def _follow(start: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        start = getattr(start, name, None)
        if start is None:
            return None
    return start


def find(environ: Environ) -> ServerSocket | None:
    """Find the socket through ``wsgi.input``."""
    source = environ.get("wsgi.input")
    for path in _READERS:
        reader = _follow(source, path)
        sock = _follow(reader, ("raw", "_sock"))
        if sock is not None:
            return from_socket(sock, buffered(reader))
    for sock in (environ.get("werkzeug.socket"), _follow(source, ("_sock",))):
        if sock is not None:
            return from_socket(sock, nothing)
    return None

"""Where each WSGI server keeps the socket of a request.

A *finder* is a function that takes the WSGI environ and returns a
:class:`ServerSocket`, or None if the request came from another server. A finder that
knows the server but cannot get the socket raises
:exc:`~dwebsocket.exceptions.SocketUnavailable`. The project's finders are asked first:
name them in ``DWEBSOCKET["SERVERS"]``, or call :func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from dwebsocket.conf import settings
from dwebsocket.exceptions import SocketUnavailable

from . import gunicorn, refused, stream, testing, uwsgi, waitress
from .base import (
    LINE,
    ClientGone,
    Environ,
    Finder,
    Held,
    Line,
    Opened,
    ServerSocket,
    SocketBusy,
    from_socket,
    release_with,
)

__all__ = (
    "LINE",
    "ClientGone",
    "Environ",
    "Finder",
    "Held",
    "Line",
    "Opened",
    "ServerSocket",
    "SocketBusy",
    "find",
    "from_socket",
    "holder",
    "known",
    "register",
    "release_with",
)

_BUILT_IN: tuple[Finder, ...] = (
    gunicorn.find,
    uwsgi.find,
    waitress.find,
    stream.find,
    testing.find,
    refused.find,
)
_registered: list[Finder] = []

_UNKNOWN = (
    "This WSGI server does not give access to the socket of a request, so a WebSocket "
    "cannot be opened on it. Serve the site with gunicorn, uWSGI, gevent, cheroot, "
    "waitress, werkzeug or 'manage.py runserver', or tell dwebsocket where the socket "
    'is with a finder in DWEBSOCKET["SERVERS"].'
)


def register(finder: Finder) -> Finder:
    """Register a finder, to be asked before older ones; usable as a decorator."""
    if finder not in _registered:
        _registered.insert(0, finder)
    return finder


def _own() -> list[Finder]:
    named: list[Callable[[Environ], Any]] = [
        import_string(path) for path in settings.SERVERS
    ]
    return [*named, *_registered]


def find(environ: Environ) -> ServerSocket:
    """Return the socket behind a request.

    Raises:
        SocketUnavailable: No finder can get the socket; the message says what to do.
    """
    for finder in (*_own(), *_BUILT_IN):
        found = finder(environ)
        if found is not None:
            return found
    raise SocketUnavailable(_UNKNOWN)


def known(environ: Environ, sock: Any) -> ServerSocket:
    """Return the ServerSocket for the result of a factory's ``get_wsgi_sock()``.

    Args:
        environ: The WSGI environ.
        sock: A ServerSocket, or the socket itself, as factories of old projects return
            it.

    Raises:
        SocketUnavailable: The socket cannot be used.
    """
    if isinstance(sock, ServerSocket):
        return sock
    try:
        found = find(environ)
    except SocketUnavailable:
        found = None
    if found is not None and found.fd == sock.fileno():
        # The finder's ServerSocket also has the bytes that the server has read ahead.
        return found
    found = from_socket(sock)
    if found is None:
        raise SocketUnavailable("The socket of this request is closed.")
    return found


def holder(environ: Environ, find_socket: Callable[[], Any]) -> Callable[[], Line]:
    """Return a function that holds the way to a request's peer.

    Args:
        environ: The WSGI environ, or the ``META`` of an ASGI request.
        find_socket: A factory's ``get_wsgi_sock()``; not called under ASGI.

    Raises:
        SocketUnavailable: The socket cannot be used.
    """
    held: Callable[[], Line] | None = environ.get(LINE)
    if held is not None:
        return held
    server = known(environ, find_socket())
    return lambda: Held(server)

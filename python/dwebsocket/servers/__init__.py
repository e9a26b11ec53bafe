"""Where each WSGI server keeps the socket of a request.

A *finder* is a function that takes the WSGI environ and returns a
:class:`ServerSocket`, or None where the request is not from its server; it raises
:exc:`~dwebsocket.exceptions.SocketUnavailable` where the server is known and the socket
cannot be had. Finders of your own go first: name them in ``DWEBSOCKET["SERVERS"]``, or
call :func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from dwebsocket.conf import settings
from dwebsocket.exceptions import SocketUnavailable

from . import gunicorn, refused, stream, uwsgi, waitress
from .base import (
    ClientGone,
    Environ,
    Finder,
    ServerSocket,
    SocketBusy,
    from_socket,
)
from .holding import Held, release_with

__all__ = (
    "ClientGone",
    "Environ",
    "Finder",
    "Held",
    "ServerSocket",
    "SocketBusy",
    "find",
    "from_socket",
    "known",
    "register",
    "release_with",
)

_BUILT_IN: tuple[Finder, ...] = (
    refused.find,
    gunicorn.find,
    uwsgi.find,
    waitress.find,
    stream.find,
)
_registered: list[Finder] = []

_UNKNOWN = (
    "This WSGI server does not show the socket of a request, so that a WebSocket "
    "cannot be opened on it. Serve the site with gunicorn, uWSGI, gevent, cheroot, "
    "waitress, werkzeug or 'manage.py runserver', or tell dwebsocket where the socket "
    'is with a finder in DWEBSOCKET["SERVERS"]. (Django\'s test client has no socket: '
    "test WebSockets with LiveServerTestCase.)"
)


def register(finder: Finder) -> Finder:
    """Ask this finder before the others; usable as a decorator."""
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
        SocketUnavailable: It cannot be had; the message says what to do.
    """
    for finder in (*_own(), *_BUILT_IN):
        found = finder(environ)
        if found is not None:
            return found
    raise SocketUnavailable(_UNKNOWN)


def known(environ: Environ, sock: Any) -> ServerSocket:
    """Return the ServerSocket of what ``get_wsgi_sock()`` of a factory has returned.

    In old projects that is the socket itself.

    Raises:
        SocketUnavailable: It cannot be used.
    """
    if isinstance(sock, ServerSocket):
        return sock
    try:
        found = find(environ)
    except SocketUnavailable:
        found = None
    if found is not None and found.fd == sock.fileno():
        # It knows what the server has read ahead.
        return found
    found = from_socket(sock)
    if found is None:
        raise SocketUnavailable("The socket of this request is closed.")
    return found

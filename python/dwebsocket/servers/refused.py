"""The finder for servers that never give a request's socket away."""

from __future__ import annotations

from dwebsocket.exceptions import SocketUnavailable

from .base import Environ, ServerSocket

__all__ = ("find",)

_MOD_WSGI = (
    "Apache's mod_wsgi does not give access to the socket, so a WebSocket cannot be "
    "opened on it. Serve this URL with gunicorn or uWSGI, behind Apache's mod_proxy."
)


def find(environ: Environ) -> ServerSocket | None:
    """Raise SocketUnavailable for a server that never gives the socket away."""
    if "mod_wsgi.version" in environ:
        raise SocketUnavailable(_MOD_WSGI)
    return None

"""Servers that are known to have no socket for anybody else."""

from __future__ import annotations

from dwebsocket.exceptions import SocketUnavailable

from .base import Environ, ServerSocket

__all__ = ("find",)

_MOD_WSGI = (
    "Apache's mod_wsgi keeps the socket to itself, so that a WebSocket cannot be "
    "opened on it. Serve this URL with gunicorn or uWSGI, behind Apache's mod_proxy."
)


def find(environ: Environ) -> ServerSocket | None:
    """Raise SocketUnavailable for a server that never gives its socket away."""
    if "mod_wsgi.version" in environ:
        raise SocketUnavailable(_MOD_WSGI)
    return None

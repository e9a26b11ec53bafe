"""uWSGI: --http-socket, --http with its router, --socket behind a proxy."""

from __future__ import annotations

import sys
from typing import Any

from dwebsocket.exceptions import SocketUnavailable

from .base import Environ, ServerSocket

__all__ = ("find",)

_THREADS = (
    "uWSGI runs without threads, and a WebSocket's view has one of its own. Start "
    "uWSGI with --enable-threads (or with --threads)."
)
_ROUTER = (
    "uWSGI's HTTP router keeps what the client sends after the request. Start uWSGI "
    "with --http-websockets beside --http, or with --http-socket instead of it."
)
_TLS = (
    "uWSGI itself speaks TLS on this socket (--https-socket). Use --https with "
    "--http-websockets, or let a reverse proxy do the TLS."
)
_GREEN = (
    "uWSGI's asynchronous modes (--gevent, --asyncio, --async, ...) are not supported. "
    "Run it with --threads, or run gunicorn with --worker-class gevent."
)


def _check(options: dict[Any, Any]) -> None:
    """Raise SocketUnavailable for options under which a connection could not live."""
    names = {n.decode() if isinstance(n, bytes) else n for n in options}
    if names & {"gevent", "asyncio", "async", "tornado", "ugreen"}:
        raise SocketUnavailable(_GREEN)
    if not names & {"enable-threads", "threads"}:
        raise SocketUnavailable(_THREADS)
    if "https-socket" in names:
        raise SocketUnavailable(_TLS)
    routed = names & {"http", "https", "http-to-https", "httprouter"}
    if routed and not names & {"http-websockets", "http-raw-body"}:
        raise SocketUnavailable(_ROUTER)


def find(environ: Environ) -> ServerSocket | None:
    """Find it with ``uwsgi.connection_fd()``."""
    if "uwsgi.version" not in environ:
        return None
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return None
    _check(uwsgi.opt)
    return ServerSocket(uwsgi.connection_fd())

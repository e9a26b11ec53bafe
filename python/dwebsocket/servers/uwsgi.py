"""uWSGI: --http-socket, --http with its router, --socket behind a proxy."""

from __future__ import annotations

import ctypes
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


def _remains(threads: bool) -> bytes:
    """Return what uWSGI's parser has read past the request.

    The ``uwsgi`` module has no call for it; the program itself has one for its plugins.
    It hands out what the parser has left before it reads the socket.
    """
    program = ctypes.CDLL(None)
    try:
        read = program.uwsgi_proto_base_read_body
        current = (
            program.threaded_current_wsgi_req
            if threads
            else program.simple_current_wsgi_req
        )
    except AttributeError:
        # Not there in a build without exported symbols. A client that waits for the
        # answer to its handshake, as RFC 6455 section 4.1 wants, loses nothing.
        return b""
    read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    read.restype = ctypes.c_ssize_t
    current.restype = ctypes.c_void_p
    request = ctypes.c_void_p(current())
    buffer = ctypes.create_string_buffer(65536)
    data = b""
    while (size := read(request, buffer, len(buffer))) > 0:
        data += buffer.raw[:size]
    return data


def find(environ: Environ) -> ServerSocket | None:
    """Find it with ``uwsgi.connection_fd()``."""
    if "uwsgi.version" not in environ:
        return None
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return None
    _check(uwsgi.opt)
    threads = int(uwsgi.opt.get("threads", uwsgi.opt.get(b"threads", 1)))
    return ServerSocket(uwsgi.connection_fd(), lambda: _remains(threads > 1))

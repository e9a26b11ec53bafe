"""The finder for uWSGI: --http-socket, --http (the router), --socket behind a proxy."""

from __future__ import annotations

import ctypes
import functools
import logging
import re
import sys
from typing import Any

from dwebsocket.exceptions import SocketUnavailable

from .base import Environ, ServerSocket

__all__ = ("find",)

logger = logging.getLogger("dwebsocket.handshake")

_THREADS = (
    "uWSGI runs without threads, but the view of a WebSocket needs its own thread. "
    "Start uWSGI with --enable-threads (or with --threads)."
)
_ROUTER = (
    "uWSGI's HTTP router keeps what the client sends after the request. Start uWSGI "
    "with --http-websockets and --http-raw-body beside --http, or with --http-socket "
    "instead of it."
)
_TLS = (
    "uWSGI itself speaks TLS on this socket (--https-socket). Use --https with "
    "--http-websockets, or let a reverse proxy do the TLS."
)
_GREEN = (
    "uWSGI's asynchronous modes (--gevent, --asyncio, --async, ...) are not supported. "
    "Run it with --threads, or run gunicorn with --worker-class gevent."
)
_RAW_BODY = (
    "uWSGI's HTTP router drops what a client sends together with its handshake. Start "
    "uWSGI with --http-raw-body beside --http-websockets."
)
_CHEAPER = (
    "uWSGI's option --%s ends workers that have no request to answer, and closes their "
    "WebSockets. Start uWSGI without it if WebSockets must stay open."
)
_RENEWING = (
    "uWSGI's option --%s renews workers now and then, and closes their WebSockets. "
    "Start uWSGI without it if WebSockets must stay open, or have clients connect "
    "again."
)

#: Options that make uWSGI end a worker that serves WebSockets: because the worker has
#: no request to answer, or because it has answered many, takes much memory or failed.
_ENDING = {
    "cheaper": _CHEAPER,
    "idle": _CHEAPER,
    "die-on-idle": _CHEAPER,
    "max-requests": _RENEWING,
    "max-worker-lifetime": _RENEWING,
    "reload-on-as": _RENEWING,
    "reload-on-rss": _RENEWING,
    "evil-reload-on-as": _RENEWING,
    "evil-reload-on-rss": _RENEWING,
    "reload-on-exception": _RENEWING,
    "reload-on-exception-type": _RENEWING,
    "reload-on-exception-value": _RENEWING,
    "reload-on-exception-repr": _RENEWING,
}


class _Options:
    """``uwsgi.opt`` with names and values as text.

    uWSGI's value is ``True`` for an option that was given without a value, else bytes.
    An option that was given several times may have a list; its last value holds.

    Args:
        options: The dict ``uwsgi.opt``.
    """

    def __init__(self, options: dict[Any, Any]) -> None:
        self._values: dict[str, str] = {}
        for name, value in options.items():
            if isinstance(value, list | tuple):
                value = value[-1] if value else True
            self._values[_text(name)] = "true" if value is True else _text(value)

    def given(self, *names: str) -> bool:
        """Return whether any of these options, which take an address, is given."""
        return any(name in self._values for name in names)

    def on(self, *names: str) -> bool:
        """Return whether any of these options is switched on, as uWSGI reads them."""
        return any(
            self._values[name].lower() not in ("false", "off", "no", "0")
            for name in names
            if name in self._values
        )

    def number(self, name: str) -> int:
        """Return an option's value as a number, read as by C's ``atoi``; else 0."""
        found = re.match(r"\s*\d+", self._values.get(name, ""))
        return int(found[0]) if found else 0


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _check(uwsgi: Any, options: _Options) -> None:
    """Raise SocketUnavailable for options under which a connection cannot work."""
    if (
        getattr(uwsgi, "loop", None)
        or options.on("gevent", "asyncio", "tornado", "ugreen")
        or options.number("async") > 1
    ):
        raise SocketUnavailable(_GREEN)
    wanted = options.on("enable-threads") or options.number("threads") > 0
    # has_threads says whether uWSGI has enabled threads: for older releases,
    # --threads 1 does not mean threads.
    if not (wanted and getattr(uwsgi, "has_threads", True)):
        raise SocketUnavailable(_THREADS)
    if options.given("https-socket"):
        raise SocketUnavailable(_TLS)
    if options.given("http", "https", "http-to-https", "httprouter"):
        if not options.on("http-websockets", "http-raw-body"):
            raise SocketUnavailable(_ROUTER)
        if not options.on("http-raw-body"):
            _warn(_RAW_BODY)
    for name, message in _ENDING.items():
        if options.on(name):
            _warn(message, name)


@functools.cache
def _warn(message: str, *args: str) -> None:
    """Log a warning, once in each process."""
    logger.warning(message, *args)


def _remains(threads: bool) -> bytes:
    """Return the bytes that uWSGI's parser has read past the request.

    The ``uwsgi`` module has no function for this; the program exports one for its
    plugins. That function returns the parser's remaining bytes before it reads the
    socket.
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
        # A build without exported symbols does not have the function. A client that
        # waits for the answer to its handshake (RFC 6455 section 4.1) loses nothing.
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
    """Find the socket with ``uwsgi.connection_fd()``."""
    if "uwsgi.version" not in environ:
        return None
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return None
    options = _Options(uwsgi.opt)
    _check(uwsgi, options)
    threads = getattr(uwsgi, "cores", None) or options.number("threads")
    return ServerSocket(uwsgi.connection_fd(), lambda: _remains(threads > 1))

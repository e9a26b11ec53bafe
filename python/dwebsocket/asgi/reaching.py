"""Finds the socket of a WebSocket that an ASGI server has, if there is a way to it.

uvicorn, gunicorn's own ASGI worker and hypercorn keep asyncio's transport in an object
that the application's ``send`` leads to. The transport is stopped from reading before
anything else, so that the server takes no frame of the peer meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dwebsocket.servers import ServerSocket

from .protocol import Send

__all__ = ("Reached", "reach")


def _in_uvicorn(owner: Any) -> tuple[Any, Callable[[], bool]]:
    def is_untouched() -> bool:
        if hasattr(owner, "reader"):
            # --ws websockets
            return not owner.reader._buffer  # noqa: SLF001 - no other way
        if owner.queue.qsize():
            return False
        if hasattr(owner.conn, "handshake"):
            # --ws wsproto
            h11 = owner.conn.handshake._h11_connection  # noqa: SLF001 - no other way
            return not h11.trailing_data[0]
        return not owner.conn.reader.buffer

    return owner.transport, is_untouched


def _in_gunicorn(owner: Any) -> tuple[Any, Callable[[], bool]]:
    return owner.transport, lambda: not owner._buffer  # noqa: SLF001 - no other way


def _in_hypercorn(owner: Any) -> tuple[Any, Callable[[], bool]]:
    protocol = owner.send.__self__
    if type(protocol).__module__ != "hypercorn.protocol.h11":
        raise AttributeError("the streams of HTTP/2 share one socket")
    server = protocol.send.__self__
    transport = server.writer.transport

    def is_untouched() -> bool:
        return not server.reader._buffer  # noqa: SLF001 - no other way

    return transport, is_untouched


#: By the modules of the objects whose method ``send`` is.
_WAYS: dict[str, Callable[[Any], tuple[Any, Callable[[], bool]]]] = {
    "uvicorn.protocols.websockets.websockets_sansio_impl": _in_uvicorn,
    "uvicorn.protocols.websockets.websockets_impl": _in_uvicorn,
    "uvicorn.protocols.websockets.wsproto_impl": _in_uvicorn,
    "gunicorn.asgi.websocket": _in_gunicorn,
    "hypercorn.protocol.ws_stream": _in_hypercorn,
}


class Reached:
    """A server's transport that reads no more.

    Args:
        transport: The transport.
        is_untouched: Returns whether the server has read nothing past the request.
    """

    def __init__(
        self, transport: asyncio.Transport, is_untouched: Callable[[], bool]
    ) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._is_untouched = is_untouched
        transport.pause_reading()

    def resume(self) -> None:
        """Let the server read again."""
        self._transport.resume_reading()

    def socket(self) -> ServerSocket | None:
        """Return the socket if the engine may take it.

        None: The server has bytes of the peer, or some for it, or closes the socket.
        """
        transport = self._transport
        try:
            if transport.is_closing() or transport.get_write_buffer_size():
                return None
            if not self._is_untouched():
                return None
        except AttributeError:
            # Another release of the server.
            return None
        sock = transport.get_extra_info("socket")
        fd = sock.fileno()
        return None if fd < 0 else ServerSocket(fd, epoll_fd=self._epoll(), sock=sock)

    def _epoll(self) -> int | None:
        """Return the epoll instance in which the socket may still be registered.

        asyncio's transport has removed the registration when it stopped reading. libuv,
        under uvloop, removes it later, and would then remove another one.
        """
        backend = getattr(self._loop, "_get_backend_id", None)
        return None if backend is None else int(backend())


def reach(send: Send) -> Reached | None:
    """Return the transport behind ``send``, which is stopped from reading.

    None: The server is not known, or speaks TLS itself, or HTTP/2.
    """
    owner = getattr(send, "__self__", None)
    way = _WAYS.get(type(owner).__module__)
    if way is None:
        return None
    try:
        transport, is_untouched = way(owner)
        if transport.get_extra_info("sslcontext") is not None:
            return None
        if transport.get_extra_info("socket") is None:
            return None
        return Reached(transport, is_untouched)
    except (AttributeError, NotImplementedError):
        # Another release of the server, or another kind of transport.
        return None

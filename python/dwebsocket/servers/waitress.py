"""The finder for waitress, by the channel behind ``waitress.client_disconnected``.

waitress has one thread for all sockets and other threads for the requests. The socket
thread may close a channel while a request is answered, so the finder touches the socket
only while it holds the lock that closing takes.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from dwebsocket.exceptions import HandshakeError, SocketUnavailable

from .base import ClientGone, Environ, ServerSocket, SocketBusy, from_socket

__all__ = ("find",)

_LOOKAHEAD = (
    "waitress reads on while a request is answered (channel_request_lookahead), and "
    "would take WebSocket frames for requests. Leave that option at its default of 0."
)
_BODY = "A WebSocket handshake has no body."
_EARLY = (
    "The client sent frames together with its handshake, and waitress took them for "
    "requests. A client must wait for the answer to its handshake (RFC 6455 section "
    "4.1); its next try will succeed."
)
_BUSY = "The client has not read the answer to an earlier request on this connection."

#: Seconds for the client to read the answer to an earlier request.
FLUSH_TIMEOUT = 2.0


def _remember_what_follows() -> None:
    """Have waitress's parser keep the bytes that came together with a handshake.

    waitress parses these bytes as further requests, and its parser does not keep the
    bytes that it has parsed. This replaces the channel's attribute ``parser_class``.
    """
    module: Any = sys.modules.get("waitress.channel")
    if module is None or module.HTTPChannel.parser_class is not getattr(
        module, "HTTPRequestParser", None
    ):
        # waitress is not in use, or the project has a parser of its own.
        return
    plain: Any = module.HTTPRequestParser

    class Parser(plain):  # type: ignore[misc]
        """Keeps the bytes that came in one read with the end of an upgrade request."""

        ahead: bytes | None = None

        def received(self, data: bytes) -> int:
            consumed: int = super().received(data)
            if self.completed and "UPGRADE" in self.headers:
                self.ahead = bytes(data[consumed:])
            return consumed

    Parser.__name__ = Parser.__qualname__ = plain.__name__
    module.HTTPChannel.parser_class = Parser


_remember_what_follows()


def find(environ: Environ) -> ServerSocket | None:
    """Find the socket through the bound method that waitress puts into the environ."""
    check = environ.get("waitress.client_disconnected")
    channel: Any = getattr(check, "__self__", None)
    if not hasattr(channel, "adj"):
        return None
    _remember_what_follows()
    if channel.adj.channel_request_lookahead:
        raise SocketUnavailable(_LOOKAHEAD)
    sock = channel.socket
    found = None if sock is None else from_socket(sock)
    if found is None:
        raise ClientGone
    return found._replace(leftover=_follows(channel), guard=_guard(channel, sock))


def _follows(channel: Any) -> Callable[[], bytes]:
    """Check the requests of a channel, and return its leftover function.

    Raises:
        HandshakeError: The request has a body, or the bytes after the request are lost.
    """
    with channel.requests_lock:
        # By now, the main thread has parsed all bytes that came with the handshake.
        ours, *others = channel.requests
    if getattr(ours, "chunked", False):
        # waitress removes the header Transfer-Encoding, so the usual check misses it.
        raise HandshakeError(_BODY)
    ahead: bytes | None = getattr(ours, "ahead", None)
    if ahead is None and others:
        # This request was parsed by waitress's parser, before ours replaced it.
        raise HandshakeError(_EARLY)

    def leftover() -> bytes:
        with channel.requests_lock:
            # The other "requests" are frames: they must not be served.
            for other in others:
                other.close()
                channel.requests.remove(other)
            others.clear()
            partial, channel.request = channel.request, None
        if ahead is not None:
            return ahead
        return bytes(partial.header_plus) if partial is not None else b""

    return leftover


def _guard(channel: Any, sock: Any) -> Callable[[], AbstractContextManager[None]]:
    """Return a channel's guard: a context that holds the lock that closing takes."""

    @contextlib.contextmanager
    def guard() -> Iterator[None]:
        with channel.outbuf_lock:
            _flush(channel)
            if not channel.connected or channel.socket is not sock:
                raise ClientGone
            yield

    return guard


def _flush(channel: Any) -> None:
    """Wait, while holding the channel's lock, until waitress has sent everything.

    Raises:
        SocketBusy: The client does not read.
    """
    deadline = time.monotonic() + FLUSH_TIMEOUT
    while channel.connected and channel.total_outbufs_len:
        left = deadline - time.monotonic()
        if left <= 0:
            raise SocketBusy(_BUSY)
        # waitress's main thread writes; it takes the lock while this thread waits.
        channel.server.pull_trigger()
        channel.outbuf_lock.wait(min(left, 0.1))

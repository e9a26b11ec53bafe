"""waitress: the socket is in the channel behind ``waitress.client_disconnected``.

waitress has one thread for all sockets and others for the requests. The first one may
close a channel while a request is answered, so the socket is only touched under the
lock that closing takes.
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

    waitress parses them as further requests, and a parser forgets what it has parsed.
    The parser's class is the channel's attribute ``parser_class``.
    """
    module: Any = sys.modules.get("waitress.channel")
    if module is None or module.HTTPChannel.parser_class is not getattr(
        module, "HTTPRequestParser", None
    ):
        # waitress is not in use, or the project has a parser of its own.
        return
    plain: Any = module.HTTPRequestParser

    class Parser(plain):  # type: ignore[misc]
        """Keeps what came in one piece with the end of a request for an upgrade."""

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
    """Find it through the bound method that waitress puts into the environ."""
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
    """Return the leftover function of a channel, having checked its requests.

    Raises:
        HandshakeError: The request has a body, or what follows it is lost.
    """
    with channel.requests_lock:
        # The main thread has now parsed all that came together with the handshake.
        ours, *others = channel.requests
    if getattr(ours, "chunked", False):
        # waitress takes the header away, so that the usual check does not see it.
        raise HandshakeError(_BODY)
    ahead: bytes | None = getattr(ours, "ahead", None)
    if ahead is None and others:
        # This request was parsed before our parser could take its place.
        raise HandshakeError(_EARLY)

    def leftover() -> bytes:
        with channel.requests_lock:
            # The others are frames, and must not be served as requests.
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
    """Return the guard of a channel: it holds the lock that closing takes."""

    @contextlib.contextmanager
    def guard() -> Iterator[None]:
        with channel.outbuf_lock:
            _flush(channel)
            if not channel.connected or channel.socket is not sock:
                raise ClientGone
            yield

    return guard


def _flush(channel: Any) -> None:
    """Wait, with the channel's lock, until nothing is left to be sent.

    Raises:
        SocketBusy: The client does not read.
    """
    deadline = time.monotonic() + FLUSH_TIMEOUT
    while channel.connected and channel.total_outbufs_len:
        left = deadline - time.monotonic()
        if left <= 0:
            raise SocketBusy(_BUSY)
        # waitress's own thread writes; it takes the lock while this one waits.
        channel.server.pull_trigger()
        channel.outbuf_lock.wait(min(left, 0.1))

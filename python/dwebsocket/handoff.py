"""From a request to a running WebSocket view.

The decorator checks the handshake and returns a :class:`HandoffResponse`. When the
server iterates it, every middleware has spoken: a cookie that one sets travels in the
101, and one that answers something else has refused the WebSocket. Only then is the
socket taken from the server and the view started.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from . import _engine, runners, servers, shutdown
from .conf import Profile, settings
from .context import RequestContext

__all__ = ("Handoff", "HandoffResponse", "mark")

#: What servers keep in the environ for as long as a request lasts.
_SERVER_KEYS = (
    "gunicorn.socket",
    "gunicorn.sock",
    "werkzeug.socket",
    "wsgi.early_hints",
    "waitress.client_disconnected",
)


class IsWebSocket:
    """``request.is_websocket``: may be called, or looked at without calling."""

    __slots__ = ("_value", "asked")

    def __init__(self, value: bool) -> None:
        self._value = value
        #: Whether somebody has looked.
        self.asked = False

    def __call__(self) -> bool:
        self.asked = True
        return self._value

    def __bool__(self) -> bool:
        self.asked = True
        return self._value

    def __repr__(self) -> str:
        return f"<is_websocket: {self._value}>"


YES = IsWebSocket(True)


def mark(request: Any, is_websocket: bool, websocket: Any = None) -> IsWebSocket:
    """Set the request's two attributes, also behind REST framework's wrapper."""
    # On plain HTTP it is noted whether the view asks: one for each request.
    question = YES if is_websocket else IsWebSocket(False)
    while request is not None:
        request.is_websocket = question
        request.websocket = websocket
        request = request.__dict__.get("_request")
    return question


def _empty_stream() -> LimitedStream:
    return LimitedStream(io.BytesIO(), 0)


_EMPTY = _empty_stream()


def _detach(request: Any) -> None:
    """Let go of what belongs to the server.

    The environ is copied because uWSGI empties its own after the request, and stripped
    because a parser or a socket object held for hours is memory for nothing.
    """
    while "_request" in request.__dict__:
        request = request.__dict__["_request"]
    environ = dict(request.META)
    for key in _SERVER_KEYS:
        environ.pop(key, None)
    environ["wsgi.input"] = _EMPTY
    request.META = request.environ = environ
    request._stream = _EMPTY


def _remote_address(meta: Mapping[str, Any]) -> tuple[str, int]:
    port = str(meta.get("REMOTE_PORT") or "")
    return str(meta.get("REMOTE_ADDR") or ""), int(port) if port.isdigit() else 0


class Handoff:
    """A checked handshake with everything that is needed to act on it.

    Args:
        handshake: What the engine made of the request's headers.
        subprotocol: The subprotocol chosen, or None.
        profile: The settings of the view.
        permit: The connection's place in the process.
        server: The server's socket.
        call: The view's call.
    """

    __slots__ = (
        "call",
        "context",
        "handshake",
        "permit",
        "profile",
        "server",
        "subprotocol",
    )

    def __init__(
        self,
        handshake: _engine.Handshake,
        subprotocol: str | None,
        profile: Profile,
        permit: _engine.Permit,
        server: servers.ServerSocket,
        call: runners.Call,
    ) -> None:
        self.handshake = handshake
        self.subprotocol = subprotocol
        self.profile = profile
        self.permit = permit
        self.server = server
        self.call = call
        # Taken here: response middleware may set language and time zone back.
        self.context = RequestContext()

    def run(self, headers: list[tuple[str, str]]) -> None:
        """Take the socket, answer the handshake and start the view.

        Args:
            headers: What middleware has put into the response.

        Raises:
            OSError: The socket cannot be taken; nothing has been sent yet.
            ValueError: A header cannot be sent; the same.
        """
        head = self.handshake.response(self.subprotocol, headers)
        shutdown.arm()
        runner = runners.kind()
        adoption = _engine.adopt(self.server.fd, self.server.epoll_fd)
        connection = adoption.start(
            head,
            self.server.leftover(),
            self.handshake,
            self.profile.options,
            self.permit,
            runner.wake_queue(),
        )
        request = self.call.request
        factory: Callable[[HttpRequest], Any] = import_string(settings.FACTORY_CLASS)
        websocket = factory(request).create_websocket(
            connection,
            modern=self.profile.modern,
            overflow=self.profile.overflow,
            send_timeout=self.profile.send_timeout,
            subprotocol=self.subprotocol,
            remote_address=_remote_address(request.META),
            port=runner.port(connection),
        )
        _detach(request)
        mark(request, True, websocket)
        # The middleware has saved it; what the view changes comes on top of that.
        session = getattr(request, "session", None)
        if session is not None:
            session.modified = False
        runners.start(self.context, self.call, websocket, runner)


class HandoffResponse(HttpResponse):
    """The 101 on its way through the middleware; starts the view when iterated.

    Args:
        handoff: What to do then.
    """

    status_code = 101

    def __init__(self, handoff: Handoff) -> None:
        super().__init__()
        self._handoff: Handoff | None = handoff

    def __iter__(self) -> Iterator[bytes]:
        handoff, self._handoff = self._handoff, None
        if handoff is not None:
            handoff.run(self._all_headers())
        # Nothing for the server to send: it sends no header before a body's first byte
        # (PEP 3333), and what it sends at the end goes nowhere.
        yield from ()

    def _all_headers(self) -> list[tuple[str, str]]:
        cookies = [
            ("Set-Cookie", morsel.OutputString()) for morsel in self.cookies.values()
        ]
        return [*self.items(), *cookies]

    def close(self) -> None:
        """Give the connection's place back if nobody has iterated."""
        self._handoff = None
        super().close()

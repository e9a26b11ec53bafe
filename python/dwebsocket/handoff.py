"""From a request to a running WebSocket view.

The decorator checks the handshake and returns a :class:`HandoffResponse`. When the
server iterates it, every middleware has spoken: a cookie that one sets travels in the
101, and one that answers something else has refused the WebSocket. Only then is the
socket taken from the server and the view started.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from . import _engine, factory, runners, servers
from .conf import Profile, settings
from .context import RequestContext
from .exceptions import ConfigurationError
from .reporting import shown

__all__ = ("Handoff", "HandoffResponse", "mark")

logger = logging.getLogger("dwebsocket.handshake")

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
    request.__dict__.pop("close", None)  # set by servers.release_with()


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
        server: The server's socket, held by a descriptor of our own.
        call: The view's call.
        runner: What runs it.
        seat: The thread that waits for it.
        context: The state of the request's thread.
    """

    __slots__ = (
        "__weakref__",
        "_made_in",
        "_over",
        "call",
        "context",
        "handshake",
        "permit",
        "profile",
        "runner",
        "seat",
        "server",
        "subprotocol",
    )

    def __init__(
        self,
        handshake: _engine.Handshake,
        subprotocol: str | None,
        profile: Profile,
        permit: _engine.Permit,
        server: servers.Held,
        call: runners.Call,
        runner: Any,
        seat: Any,
        context: RequestContext,
    ) -> None:
        #: The process, until the handoff has been run or called off.
        self._made_in: int | None = os.getpid()
        #: Whether its request has ended.
        self._over = False
        self.runner = runner
        self.seat = seat
        self.handshake = handshake
        self.subprotocol = subprotocol
        self.profile = profile
        self.permit = permit
        self.server = server
        self.call = call
        call.recheck_interval = profile.recheck_interval
        self.context = context
        call.gone_timeout = profile.gone_timeout

    def run(self, headers: list[tuple[str, str]]) -> None:
        """Take the socket, answer the handshake and start the view, once.

        Args:
            headers: What middleware has put into the response.

        Raises:
            OSError: The socket cannot be taken; nothing has been sent yet.
            ClientGone: The server has seen the client go; it ends the request.
            ValueError: A header cannot be sent; the same.
            ConfigurationError: Its request has ended.
        """
        if self._over:
            raise ConfigurationError(
                "A middleware has kept the response to a WebSocket's handshake, and "
                "answers another request with it, or has closed it. It must return the "
                "response that it gets."
            )
        if self._made_in is None:
            return
        self._made_in = None
        try:
            self._run(headers)
        finally:
            self._release()

    def _run(self, headers: list[tuple[str, str]]) -> None:
        head = self.handshake.response(self.subprotocol, headers)
        adoption = self.server.adopt()
        # From here on, no answer of the server reaches the client any more.
        try:
            connection = adoption.start(
                head,
                self.server.leftover(),
                self.handshake,
                self.profile.options,
                self.permit,
                self.runner.wake_queue(),
            )
        except BaseException as error:
            # The socket is closed with it; the traceback would keep it open.
            del adoption
            if not isinstance(error, Exception):
                # Ctrl-C, in a server that answers in its main thread: the process ends.
                raise
            logger.exception(
                "The WebSocket of %s could not be opened, and was cut off",
                shown(self.call.request.path),
                extra={"request": self.call.request},
            )
            return
        try:
            self._begin(connection)
        except BaseException as error:
            runners.give_up(connection, self.call.request)
            if not isinstance(error, Exception):
                raise

    def _begin(self, connection: _engine.Connection) -> None:
        """Start the view."""
        request = self.call.request
        make: Callable[[HttpRequest], Any] = import_string(settings.FACTORY_CLASS)
        options = {
            "modern": self.profile.modern,
            "overflow": self.profile.overflow,
            "send_timeout": self.profile.send_timeout,
            "subprotocol": self.subprotocol,
            "remote_address": _remote_address(request.META),
            "port": self.runner.port(connection),
        }
        websocket = factory.made_by(make(request), connection, options)
        if websocket is None:
            raise ConfigurationError(
                f"create_websocket() of {settings.FACTORY_CLASS} must return the "
                "WebSocket of the connection, not None."
            )
        _detach(request)
        mark(request, True, websocket)
        # The middleware has saved it; what the view changes comes on top of that.
        session = getattr(request, "session", None)
        if session is not None:
            session.modified = False
        self.seat.run(self.context, self.call, websocket, connection)

    def _release(self) -> None:
        """Give back what has not been used; a traceback may keep this object."""
        self.seat.cancel()
        self.server.close()
        del self.seat, self.permit, self.server

    def close(self) -> None:
        """Note that the request has ended: nothing can be started any more."""
        self._over = True
        self.call_off()

    def call_off(self) -> None:
        """Give everything back, unless the view has been started; idempotent."""
        made_in, self._made_in = self._made_in, None
        if made_in is None:
            return
        self._release()
        # The child of a fork has a copy of it, which nobody misses.
        if made_in == os.getpid() and not sys.is_finalizing():
            logger.warning(
                "The WebSocket of %s was not opened: the decorator's response was "
                "thrown away. A middleware has answered something else; if it was not "
                "to refuse, it must return the response that it gets.",
                shown(self.call.request.path),
                extra={"request": self.call.request},
            )

    def __reduce__(self) -> Any:
        """Refuse to be pickled: a cache would hand out a connection that is gone.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the response to a WebSocket's handshake cannot be kept")

    def __del__(self) -> None:
        # Middleware need not close the responses that it throws away.
        if getattr(self, "_made_in", None) is not None:
            self.call_off()


class Switching(int):
    """The status 101, which is of no use in a response of somebody else's.

    The client would wait for a WebSocket that nobody has opened.
    """

    def __int__(self) -> int:
        caller = sys._getframe(1)
        if caller.f_code is _COPIES:
            response = caller.f_locals.get("self")
            # One that streams the original starts the view when it is iterated.
            if not getattr(response, "streaming", False):
                raise ConfigurationError(
                    "A middleware makes a response of its own with the status of a "
                    "WebSocket's (101), so that the WebSocket cannot be opened. It "
                    "must return the response that it gets."
                )
        return 101

    def __ge__(self, other: int) -> bool:
        caller = sys._getframe(1)
        if caller.f_code is _ANSWERS:
            response: Any = caller.f_locals.get("response")
            # Its own content, and our status: the client would get a 101 of nothing.
            if type(response).__iter__ is HttpResponse.__iter__:
                response.status_code = 500
                return True
        return super().__ge__(other)


#: What turns a status into a number where a response is made.
_COPIES = HttpResponseBase.__init__.__code__
#: What looks at the status of a response that has been through all middleware.
_ANSWERS = BaseHandler.get_response.__code__


class HandoffResponse(HttpResponse):
    """The 101 on its way through the middleware; starts the view when iterated.

    Args:
        handoff: What to do then.
    """

    status_code = Switching(101)

    def __init__(self, handoff: Handoff) -> None:
        super().__init__()
        self._handoff: Handoff = handoff

    def __iter__(self) -> Iterator[bytes]:
        with contextlib.suppress(servers.ClientGone):
            self._handoff.run(self._all_headers())
        # Nothing for the server to send: it sends no header before a body's first byte
        # (PEP 3333), and what it sends at the end goes nowhere.
        yield from ()

    def _all_headers(self) -> list[tuple[str, str]]:
        cookies = [
            ("Set-Cookie", morsel.OutputString()) for morsel in self.cookies.values()
        ]
        return [*self.items(), *cookies]

    def close(self) -> None:
        """Give the connection's place and descriptor back if nobody has iterated."""
        self._handoff.close()
        super().close()

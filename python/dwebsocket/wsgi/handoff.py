"""Leads from an accepted handshake to a running WebSocket view.

The decorator returns a :class:`HandoffResponse`. When the server iterates it, all
middleware has run: a cookie that a middleware sets is sent with the 101, and a
middleware that returns another response refuses the WebSocket. Only the iteration takes
the socket from the server and starts the view.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from dwebsocket import _engine, runners, servers
from dwebsocket import factory as factories
from dwebsocket.context import RequestContext, carried
from dwebsocket.exceptions import (
    ConfigurationError,
    HandshakeError,
    SocketUnavailable,
)
from dwebsocket.handshake.opening import Accepted
from dwebsocket.handshake.refusal import LATER, refuse
from dwebsocket.handshake.request import mark
from dwebsocket.hub import connecting
from dwebsocket.logins import rights
from dwebsocket.process import capacity, exit, figures
from dwebsocket.process.reporting import shown
from dwebsocket.runners.door import Door
from dwebsocket.runners.headers import add as add_headers
from dwebsocket.servers import testing

from .deciding import decide

__all__ = ("Handoff", "HandoffResponse", "hand_over")

logger = logging.getLogger("dwebsocket.handshake")

#: Objects of servers in the environ, which are needed only during the request.
_SERVER_KEYS = (
    "gunicorn.socket",
    "gunicorn.sock",
    "werkzeug.socket",
    "wsgi.early_hints",
    "waitress.client_disconnected",
    testing.KEY,
    servers.LINE,
)


def _empty_stream() -> LimitedStream:
    return LimitedStream(io.BytesIO(), 0)


_EMPTY = _empty_stream()


def _detach(request: Any) -> None:
    """Remove the references to the server's objects from a request.

    The environ is copied because uWSGI empties its own after the request. The objects
    are removed because a parser or a socket object would waste memory for hours.
    """
    while "_request" in request.__dict__:
        request = request.__dict__["_request"]
    environ = dict(request.META)
    for key in _SERVER_KEYS:
        environ.pop(key, None)
    request.META = environ
    if hasattr(request, "environ"):  # not the request of an ASGI server
        environ["wsgi.input"] = _EMPTY
        request.environ = environ
        request._stream = _EMPTY
    request.__dict__.pop("close", None)  # set by servers.release_with()


def _remote_address(meta: Mapping[str, Any]) -> tuple[str, int]:
    port = str(meta.get("REMOTE_PORT") or "")
    return str(meta.get("REMOTE_ADDR") or ""), int(port) if port.isdigit() else 0


class Handoff:
    """An accepted handshake, with everything that is needed to start the view.

    Args:
        accepted: The result of the handshake.
        permit: The connection's place in the process.
        server: The way to the peer: the server's socket, held by a descriptor of our
            own, or the queue of an ASGI server.
        call: The view's call.
        runner: The runner of the view.
        seat: The thread (greenlet) that is reserved for the call.
        context: The state of the request's thread.
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_made_in",
        "_over",
        "_websocket",
        "accepted",
        "call",
        "context",
        "permit",
        "runner",
        "seat",
        "server",
    )

    def __init__(
        self,
        accepted: Accepted,
        permit: _engine.Permit,
        server: servers.Line,
        call: Any,
        runner: runners.Runner,
        seat: runners.Seat,
        context: RequestContext,
    ) -> None:
        #: The id of the process; None when the handoff was run or called off.
        self._made_in: int | None = os.getpid()
        #: Whether the request has ended.
        self._over = False
        #: The WebSocket of a view that decides; None: it is made when it is open.
        self._websocket: Any = None
        #: Whether the view has been started.
        self._begun = False
        self.runner = runner
        self.seat = seat
        self.accepted = accepted
        self.permit = permit
        self.server = server
        self.call = call
        self.context = context
        call.recheck_interval = accepted.profile.recheck_interval
        call.cancels = accepted.profile.cancel_on_disconnect
        call.gone_timeout = accepted.profile.gone_timeout

    def run(self, headers: list[tuple[str, str]]) -> None:
        """Take the socket, answer the handshake and start the view, once.

        Args:
            headers: The headers that middleware has put into the response.

        Raises:
            OSError: The socket cannot be taken; nothing has been sent yet.
            ClientGone: The server has seen the client go, and ends the request.
            ValueError: A header cannot be sent; nothing has been sent yet.
            ConfigurationError: The request has ended.
        """
        if self._over:
            raise ConfigurationError(
                "A middleware has kept the response to a WebSocket's handshake, and "
                "has closed it or answers another request with it. The middleware must "
                "return the response that it gets."
            )
        if self._made_in is None:
            return
        self._made_in = None
        try:
            self._run(headers)
        finally:
            self._release()

    def _run(self, headers: list[tuple[str, str]]) -> None:
        handshake, subprotocol, profile, _ = self.accepted
        if self.call.decides:
            subprotocol = self.call.door.subprotocol
        head = handshake.response(subprotocol, headers)
        adoption = self._adopt()
        # From here on, no response of the server reaches the client.
        try:
            connection = adoption.start(
                head,
                self.server.leftover(),
                handshake,
                profile.options,
                self.permit,
                self.runner.event_loop(),
            )
        except BaseException as error:
            # This closes the socket; the traceback would keep the adoption alive.
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

    def _adopt(self) -> servers.Opened:
        """Take the peer over from the server.

        Raises:
            OSError: The socket cannot be taken.
            ClientGone: The server has closed the connection while the view decided.
        """
        try:
            return self.server.adopt()
        except OSError as error:
            if not self.call.decides:
                raise
            # A view may take its time, so this is nobody's mistake.
            logger.info(
                "The WebSocket of %s was accepted too late: %s",
                shown(self.call.request.path),
                error,
                extra={"request": self.call.request},
            )
            raise servers.ClientGone from error

    def _make(self, connection: Any, subprotocol: str | None, port: Any) -> Any:
        """Make the WebSocket."""
        _, _, profile, factory = self.accepted
        options = {
            "modern": profile.modern,
            "overflow": profile.overflow,
            "send_timeout": profile.send_timeout,
            "subprotocol": subprotocol,
            "remote_address": _remote_address(self.call.request.META),
            "port": port,
        }
        factory.asynchronous = self.call.asynchronous
        return factories.made_by(factory, connection, options)

    def decide(self) -> HttpResponseBase | None:
        """Run the view until it accepts its WebSocket, or refuses it.

        Returns, Raises:
            As :func:`.deciding.decide` does.
        """
        call = self.call
        handshake, subprotocol, profile, _ = self.accepted
        call.door = Door(call, handshake, subprotocol, profile.accept_timeout)
        call.shared = self.context.databases
        return decide(call, self._start_deciding, self.drop)

    def _start_deciding(self) -> None:
        """Start the view with a WebSocket that is not open yet."""
        call, door = self.call, self.call.door
        port = door.pending.port if call.asynchronous else None
        self._websocket = self._make(door.pending, None, port)
        mark(call.request, True, self._websocket)
        try:
            self.seat.run(runners.Job(self.context, call, self._websocket, door))
        except RuntimeError as error:
            message = f"This process cannot start the view: {error}."
            raise HandshakeError(message, 503, LATER) from error

    def _begin(self, connection: _engine.Connection) -> None:
        """Make the WebSocket and start the view, or let it go on."""
        request = self.call.request
        port = self.runner.port(connection)
        websocket = self._websocket
        if websocket is None:
            websocket = self._make(connection, self.accepted.subprotocol, port)
        connection.describe(
            request.path,
            _remote_address(request.META)[0],
            self.call.place or self.runner.place,
            self.server.transport,
        )
        _detach(request)
        mark(request, True, websocket)
        # The middleware has saved the session; later only the view's changes count.
        session = getattr(request, "session", None)
        if session is not None:
            session.modified = False
        if self.call.asynchronous:
            # This thread may ask the database for the user; a task may not.
            rights.identify(request, connection)
        if self.call.decides:
            self.call.door.open(connection, port)
        else:
            job = runners.Job(self.context, self.call, websocket, connection)
            self.seat.run(job)
        self._begun = True

    def _release(self) -> None:
        """Free what was not used, even if a traceback keeps this object alive."""
        if self.call.decides:
            self.call.door.lose()
        self.seat.cancel()
        self.server.close()
        del self.seat, self.permit, self.server
        if not self._begun:
            self.call.abandon()

    def close(self) -> None:
        """Note that the request has ended: the view can no longer be started."""
        self._over = True
        self.call_off()

    def drop(self) -> None:
        """Free everything: the view itself has refused the WebSocket; idempotent."""
        made_in, self._made_in = self._made_in, None
        if made_in is not None:
            self._release()

    def call_off(self) -> None:
        """Free everything, unless the view has been started; idempotent."""
        made_in = self._made_in
        if made_in is None:
            return
        self.drop()
        # The copy in a forked child is no lost handshake, and needs no warning.
        if made_in == os.getpid() and not sys.is_finalizing():
            logger.warning(
                "The WebSocket of %s was not opened: the decorator's response was not "
                "sent. A middleware has returned another response or has raised an "
                "exception; unless it does so to refuse the WebSocket, it must return "
                "the response that it gets.",
                shown(self.call.request.path),
                extra={"request": self.call.request},
            )

    def __reduce__(self) -> Any:
        """Refuse to be pickled: a cached copy would refer to a connection that is gone.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the response to a WebSocket's handshake cannot be kept")

    def __del__(self) -> None:
        # Middleware may throw a response away without closing it.
        if getattr(self, "_made_in", None) is not None:
            self.call_off()


class Switching(int):
    """The status 101, which another response must not copy.

    The client would wait for a WebSocket that was never opened.
    """

    def __int__(self) -> int:
        caller = sys._getframe(1)
        if caller.f_code is _COPIES:
            response = caller.f_locals.get("self")
            # A streaming response that wraps ours starts the view when iterated.
            if not getattr(response, "streaming", False):
                raise ConfigurationError(
                    "A middleware has copied the status 101 of a WebSocket's response "
                    "into a response of its own, which cannot open the WebSocket. The "
                    "middleware must return the response that it gets."
                )
        return 101

    def __ge__(self, other: int) -> bool:
        caller = sys._getframe(1)
        if caller.f_code in _ANSWERS:
            response: Any = caller.f_locals.get("response")
            # Content of its own with our status: a 101 without a WebSocket.
            if type(response).__iter__ is HttpResponse.__iter__:
                response.status_code = 500
                return True
        return super().__ge__(other)


#: The code in Django that converts the status of a new response to a number.
_COPIES = HttpResponseBase.__init__.__code__
#: The code in Django that checks the status of a response after all middleware.
_ANSWERS = (
    BaseHandler.get_response.__code__,
    BaseHandler.get_response_async.__code__,
)


class HandoffResponse(HttpResponse):
    """The 101 on its way through the middleware; starts the view when iterated.

    Args:
        handoff: The handoff to run then.
        headers: The headers that the view has given to ``accept()``.
    """

    status_code = Switching(101)

    def __init__(
        self, handoff: Handoff, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__()
        self._handoff: Handoff = handoff
        if headers:
            add_headers(self, headers)

    @property
    def handoff(self) -> Handoff:
        """The handoff, until the response is iterated."""
        return self._handoff

    def __iter__(self) -> Iterator[bytes]:
        with contextlib.suppress(servers.ClientGone):
            self._handoff.run(self._all_headers())
        # The body is empty: a server sends no header before the first byte of the body
        # (PEP 3333), and whatever it sends at the end does not reach the client.
        yield from ()

    def start(self) -> None:
        """Open the WebSocket without the headers that middleware would add.

        Raises:
            OSError, ClientGone, ConfigurationError: As :meth:`Handoff.run` does.
        """
        self._handoff.run([])

    def _all_headers(self) -> list[tuple[str, str]]:
        cookies = [
            ("Set-Cookie", morsel.OutputString()) for morsel in self.cookies.values()
        ]
        return [*self.items(), *cookies]

    def close(self) -> None:
        """Free the connection's place and descriptor if the view was not started."""
        self._handoff.close()
        super().close()


#: The id of the process that is prepared for WebSockets, and its runner of views.
_serving: tuple[int, runners.Runner] | None = None


def hand_over(accepted: Accepted, call: runners.Call) -> HttpResponse:
    """Return the response that starts a view, or a refusal.

    Args:
        accepted: The result of the handshake.
        call: The view's call.
    """
    request = call.request
    try:
        return _hand_over(accepted, call)
    except HandshakeError as error:
        return refuse(request, error.status, error.message, error.headers)
    except SocketUnavailable as error:
        return refuse(request, 501, str(error))
    except servers.ClientGone:
        return HttpResponse(status=400)  # the client is gone and does not read it


def _hand_over(accepted: Accepted, call: runners.Call) -> HttpResponse:
    """Return the response that starts a view, or one that refuses the WebSocket."""
    request = call.request
    hold = servers.holder(request.META, accepted.factory.get_wsgi_sock)
    # The state is taken here because response middleware may reset the language and the
    # time zone. This frame holds no thread, no descriptor and no place: exceptions in
    # asgiref keep the calling frames alive until the garbage collector runs.
    call.carried = carried(request) or ()
    return _answer(_reserve(accepted, call, hold, RequestContext()))


def _answer(reserved: Handoff | HttpResponse) -> HttpResponse:
    """Return the response of a handshake for which there is a place, or not."""
    if not isinstance(reserved, Handoff):
        return reserved
    if not reserved.call.decides:
        return HandoffResponse(reserved)
    refusal: Any = reserved.decide()
    if refusal is None:
        refusal = too_late(reserved)
    if refusal is not None:
        found: HttpResponse = refusal
        return found
    return HandoffResponse(reserved, reserved.call.door.headers)


def too_late(handoff: Handoff) -> HttpResponse | None:
    """Refuse a handshake that was accepted when the process had begun to end."""
    try:
        _engine.start()
    except OSError:
        handoff.drop()
        return refuse(handoff.call.request, 503, "This process ends.", LATER)
    return None


def _reserve(
    accepted: Accepted,
    call: runners.Call,
    hold: Callable[[], servers.Line],
    context: RequestContext,
) -> Handoff | HttpResponse:
    """Reserve a place, a descriptor and a thread; return them, or a refusal."""
    request = call.request
    # Start every thread now, while the handshake can still be refused.
    try:
        _engine.start()
        runner = _serve(bool(request.META.get("wsgi.multiprocess")))
        if call.asynchronous or call.handles:
            runner = runners.of(call)
        if testing.KEY in request.META:
            # A test runs its views itself.
            runner = testing.runner(request.META, call.asynchronous) or runner
    except (OSError, RuntimeError, MemoryError) as error:
        return _refuse_without_thread(request, error)
    permit = _engine.reserve(
        capacity.connections(not (call.asynchronous or call.handles))
    )
    if permit is None:
        return _refuse_at_the_limit(request)
    try:
        held = hold()
    except OSError as error:
        return _refuse_without_socket(request, error)
    try:
        seat = runner.reserve()
    except (RuntimeError, MemoryError) as error:
        held.close()
        return _refuse_without_thread(request, error)
    except OSError as error:
        held.close()
        return _refuse_without_socket(request, error)
    handoff = Handoff(accepted, permit, held, call, runner, seat, context)
    servers.release_with(request, handoff)
    return handoff


def _serve(several: bool) -> runners.Runner:
    """Prepare this process for WebSockets, once; return its runner of views.

    Args:
        several: Whether the server has other worker processes.
    """
    global _serving
    if _serving is None or _serving[0] != os.getpid():
        exit.arm()
        connecting.note_server(several)
        connecting.connect()
        exit.listen()
        figures.serve()
        _serving = os.getpid(), runners.kind()
    return _serving[1]


def _refuse_at_the_limit(request: HttpRequest) -> HttpResponse:
    return refuse(
        request,
        503,
        f"This process has {_engine.connection_count()} WebSockets open, which is the "
        "limit (DWEBSOCKET['MAX_CONNECTIONS'], or the system's limit of files or "
        "threads).",
        LATER,
        level="warning",
    )


def _refuse_without_thread(request: HttpRequest, error: Exception) -> HttpResponse:
    return refuse(
        request,
        503,
        "This process cannot start a thread for another WebSocket: "
        f"{error or type(error).__name__}.",
        LATER,
    )


def _refuse_without_socket(request: HttpRequest, error: OSError) -> HttpResponse:
    if isinstance(error, servers.SocketBusy):
        return refuse(request, 503, str(error), LATER, level="warning")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        message = f"This process has no file descriptor left: {error}."
        return refuse(request, 503, message, LATER, level="error")
    return refuse(request, 501, f"The socket of this request is not usable: {error}.")

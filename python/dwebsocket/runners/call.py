"""Calls a view with its state set up, and derives the close code from its outcome."""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from dwebsocket import _engine, context, signals
from dwebsocket.exceptions import ConfigurationError, PeerGone, WebSocketClosed
from dwebsocket.logins import following, rights
from dwebsocket.process import databases, figures, log, reporting
from dwebsocket.process.reporting import shown
from dwebsocket.process.visitor import visitor
from dwebsocket.websocket import WebSocket
from dwebsocket.websocket import endpoint as endpoints
from dwebsocket.websocket.base import BaseWebSocket

__all__ = (
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "NORMAL",
    "Call",
    "Job",
    "give_up",
    "wants_response",
)

logger = logging.getLogger("dwebsocket.view")
opened_logger = logging.getLogger("dwebsocket.opened")
closed_logger = logging.getLogger("dwebsocket.closed")

NORMAL, GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR = 1000, 1001, 1008, 1011

_UNAWAITED = (
    "{} has returned the coroutine {}(), which nobody awaits. Write 'async def', and "
    "'await' where that one is called. If it is 'async def', a synchronous decorator "
    "hides that: put it above (outside) the WebSocket's decorator, or mark its wrapper "
    "with asgiref.sync.markcoroutinefunction()."
)

#: Statuses of responses that turn a visitor away: redirects and errors of the client.
_REFUSED = range(300, 500)

#: Modules of Django that work on the responses of views.
_AROUND_VIEWS = (
    "django.middleware.",
    "django.utils.cache",
    "django.utils.decorators",
    "django.views.decorators.",
)

#: Exceptions by which a view turns a visitor away: one log line, no traceback.
_REFUSALS = (BadRequest, Http404, PermissionDenied, SuspiciousOperation)


def wants_response(error: Exception) -> bool:
    """Return whether code around a view that has returned None requires a response.

    Such code is REST framework, or a decorator of Django's (``never_cache``, say).
    """
    _ours, *steps = [frame for frame, _line in traceback.walk_tb(error.__traceback__)]
    if not steps:
        return False
    modules = [str(frame.f_globals.get("__name__")) for frame in steps]
    if isinstance(error, AssertionError):
        return (
            steps[-1].f_code.co_name == "finalize_response"
            and modules[-1] == "rest_framework.views"
        )
    # Every frame is Django's, none is the project's: the view has returned already.
    return "'NoneType'" in str(error) and (
        modules[-1].startswith(_AROUND_VIEWS)
        and all(module.startswith("django.") for module in modules)
    )


class Call:
    """A view's call with its arguments.

    Args:
        view: The view.
        request: The request that the view gets (Django's, or REST framework's).
        args: All positional arguments, including the request.
        kwargs: The keyword arguments.
    """

    #: Whether the view is a task of the event loop.
    asynchronous = False
    #: In what the view runs, for the monitor; "": its runner says that.
    place = ""
    #: Whether the view accepts its WebSocket by hand.
    decides = False
    #: Whether the view is a class with handlers, which run while there is something for
    #: them.
    handles = False

    __slots__ = (
        "args",
        "cancels",
        "carried",
        "gone_timeout",
        "kwargs",
        "observer",
        "recheck_interval",
        "request",
        "view",
    )

    def __init__(
        self,
        view: Callable[..., Any],
        request: HttpRequest,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.view = view
        self.request = request
        self.args = args
        self.kwargs = kwargs
        #: State that the project's hooks carry over from the request's thread.
        self.carried: Sequence[Any] = ()
        #: The setting ``GONE_TIMEOUT``.
        self.gone_timeout: float | None = None
        #: The setting ``CANCEL_ON_DISCONNECT``, of asynchronous views.
        self.cancels = False
        #: Gets the exception that has ended the view, and whether it refuses a visitor;
        #: set by ``dwebsocket.testing``.
        self.observer: Callable[[BaseException, bool], None] | None = None
        #: Seconds between two checks of the user's login. None: only a ``Session`` or
        #: the view starts them; 0: only the view does.
        self.recheck_interval: float | None = None

    def run(self, websocket: WebSocket[Any]) -> None:
        """Call the view and close the WebSocket when the view has ended.

        This method handles the view's own exceptions. The caller must log any other
        exception, such as one of a context hook; the WebSocket may still be open then.
        """
        if not self.carried:
            # An exit stack would hold a kilobyte for as long as the view runs.
            self._run(websocket, ())
            return
        spare = context.again(self.carried)
        with context.applied(self.carried):
            self._run(websocket, spare)

    def _run(self, websocket: WebSocket[Any], spare: Sequence[Any]) -> None:
        code = INTERNAL_ERROR
        since = time.monotonic()
        try:
            databases.begin()
            self.begin(websocket, spare)
            code = self._close_code(websocket)
            self.save_session()
        finally:
            self.end(websocket, code, since)

    def begin(self, websocket: WebSocket[Any], spare: Sequence[Any]) -> None:
        """Note that the WebSocket is open, and tell others.

        Args:
            websocket: The WebSocket.
            spare: What the checks of the login apply in their thread.
        """
        endpoints.of(websocket).begin(self.gone_timeout)
        self.tell_opening(websocket, spare)

    def tell_opening(self, websocket: WebSocket[Any], spare: Sequence[Any]) -> None:
        """Begin the checks of the login, log the opening, and send its signal.

        Args:
            websocket: The WebSocket.
            spare: What the checks of the login apply in their thread.
        """
        rights.identify(self.request, endpoints.of(websocket).connection)
        found = self.note_rights(websocket, spare)
        if self.recheck_interval:
            following.begin(found, self.recheck_interval)
        self.log_opening()
        signals.emit(signals.websocket_opened, websocket, request=self.request)

    def note_rights(
        self, websocket: BaseWebSocket[Any], spare: Sequence[Any]
    ) -> rights.Rights:
        """Note for the checks of the login whose WebSocket this is."""
        endpoint = endpoints.of(websocket)
        found = rights.Rights(self.request, endpoint.connection, websocket)
        found.carried = spare
        found.never = self.recheck_interval == 0
        endpoint.rights = found
        return found

    def end(self, websocket: WebSocket[Any], code: int, since: float) -> None:
        """Close the WebSocket, and tell others.

        Args:
            websocket: The WebSocket.
            code: The close code.
            since: When it was opened.
        """
        endpoint = endpoints.of(websocket)
        # This thread may run another view next.
        endpoint.leave()
        try:
            self.close(websocket, code, since)
            self.tell_end(websocket)
        finally:
            self._leave(endpoint.connection)

    def close(self, websocket: BaseWebSocket[Any], code: int, since: float) -> None:
        """Close the WebSocket, end the checks of the login, and log the closing.

        Args:
            websocket: The WebSocket.
            code: The close code; no effect if the WebSocket is closed already.
            since: When it was opened.
        """
        endpoint = endpoints.of(websocket)
        websocket.close(code)
        if endpoint.rights is not None:
            following.end(endpoint.rights)
            endpoint.rights = None
        self.log_closing(endpoint.connection, time.monotonic() - since)

    def _leave(self, connection: _engine.Connection) -> None:
        """Release what the thread holds for the view, and give up its turn."""
        try:
            log.drain()
        finally:
            # The engine wakes views in turn; this view receives no more messages.
            connection.leave_turn()

    def _close_code(self, websocket: WebSocket[Any]) -> int:
        try:
            # If the view returns an HTTP response, it cannot be sent to the client.
            returned = self._call_view()
            self.check_returned(returned)
        except BaseException as error:
            return self.code_of(error)
        return self.judge(returned, websocket)

    def check_returned(self, value: Any) -> None:
        """Make sure that a function has returned no coroutine, which nobody awaits.

        Raises:
            ConfigurationError: It has: the function should be asynchronous, or is so
                and a synchronous decorator hides that.
        """
        if inspect.iscoroutine(value):
            value.close()
            found = reporting.name_of(self.view), value.__qualname__
            raise ConfigurationError(_UNAWAITED.format(*found))

    def code_of(self, error: BaseException) -> int:
        """Log the exception that has ended the view; return the close code.

        Call this while the exception is being handled.
        """
        request = self.request
        if isinstance(error, WebSocketClosed):
            # receive() raised this because the peer has gone, and the view let it pass.
            return NORMAL
        if isinstance(error, _REFUSALS):
            logger.warning(
                "Refused (%s): %s for %s: %s",
                type(error).__name__,
                shown(request.path),
                visitor(request),
                shown(error),
                extra={"request": request},
            )
            self.tell(error, refused=True)
            return POLICY_VIOLATION
        if isinstance(error, Exception):
            return self.failed(error)
        if isinstance(error, PeerGone):
            # dwebsocket.testing raises PeerGone without a text.
            why = "the test has ended it"
            if str(error):
                why = f"{error}, and the view did not notice (GONE_TIMEOUT)"
            logger.warning(
                "Ended the WebSocket view %s of %s: %s",
                reporting.name_of(self.view),
                shown(request.path),
                why,
                extra={"request": request},
            )
            return NORMAL
        # SystemExit, or gevent's GreenletExit: the thread (greenlet) must end.
        self.tell(error)
        return GOING_AWAY

    def failed(self, error: BaseException) -> int:
        """Report the exception that is being handled as the view's own mistake."""
        figures.view_failed()
        reporting.report(
            logger,
            "Error in the WebSocket view of %s",
            self.request.path,
            request=self.request,
        )
        self.tell(error)
        return INTERNAL_ERROR

    def abandon(self) -> None:
        """Note that the view will not be called: the WebSocket was not opened."""

    def tell(self, error: BaseException, refused: bool = False) -> None:
        """Pass an exception on to the observer, if there is one."""
        if self.observer is not None:
            self.observer(error, refused)

    def _call_view(self) -> Any:
        cached = self.is_cached()
        try:
            returned = self.view(*self.args, **self.kwargs)
        except (AssertionError, AttributeError, TypeError) as error:
            if not wants_response(error):
                raise
            return None
        self.check_cached(cached)
        return returned

    def is_cached(self) -> bool | None:
        """Return a mark of Django's cache, for :meth:`check_cached`."""
        found: bool | None = getattr(self.request, "_cache_update_cache", None)
        return found

    def check_cached(self, before: bool | None) -> None:
        """Make sure that the view has answered, and no cached page instead.

        Raises:
            ConfigurationError: ``cache_page`` stands inside of the decorator.
        """
        if before is not False and not getattr(
            self.request, "_cache_update_cache", True
        ):
            raise ConfigurationError(
                f"A cached page answered instead of {reporting.name_of(self.view)}. "
                "Put cache_page above (outside) the WebSocket's decorator."
            )

    def judge(self, returned: Any, websocket: BaseWebSocket[Any]) -> int:
        """Return the close code for what a view has returned.

        A response that refuses a plain HTTP request (login_required's redirect, say)
        also refuses the WebSocket, unless the conversation is over already.
        """
        status = getattr(returned, "status_code", 200)
        over = endpoints.of(websocket).has_ended()
        if over or not isinstance(returned, HttpResponseBase) or status not in _REFUSED:
            return NORMAL
        logger.warning(
            "Refused (%s): %s for %s: %s returned this response when the WebSocket "
            "was open already, so the client does not get it. Put the decorator that "
            "returns the response (login_required, api_view, ...) above the "
            "WebSocket's decorator: then the response answers the handshake.",
            status,
            shown(self.request.path),
            visitor(self.request),
            reporting.name_of(self.view),
            extra={"request": self.request},
        )
        websocket.close(POLICY_VIOLATION, f"refused ({status})")
        return POLICY_VIOLATION

    def log_opening(self) -> None:
        """Log that the WebSocket is open."""
        if opened_logger.isEnabledFor(logging.INFO):
            opened_logger.info(
                "WebSocket opened: %s for %s",
                shown(self.request.path),
                visitor(self.request),
                extra={"request": self.request},
            )

    def log_closing(self, connection: _engine.Connection, seconds: float) -> None:
        """Log that the WebSocket is closed."""
        if not closed_logger.isEnabledFor(logging.INFO):
            return
        code, reason = connection.close_code, connection.close_reason
        closed_logger.info(
            "WebSocket closed (%s%s): %s for %s after %.1f s",
            code,
            f", {shown(reason)}" if reason else "",
            shown(self.request.path),
            visitor(self.request),
            seconds,
            extra={
                "request": self.request,
                "close_code": code,
                "close_reason": reason,
                "seconds": seconds,
            },
        )

    def tell_end(self, websocket: BaseWebSocket[Any]) -> None:
        """Send the signals of the end."""
        endpoint = endpoints.of(websocket)
        # Iterate over a copy: another thread may join or leave meanwhile.
        for group in tuple(endpoint.groups or ()):
            signals.emit(signals.group_left, websocket, group=group)
        signals.emit(
            signals.websocket_closed,
            websocket,
            request=self.request,
            code=endpoint.connection.close_code,
            reason=endpoint.connection.close_reason,
        )

    def save_session(self) -> None:
        """Save what the view changed in the session, as middleware does for HTTP."""
        session = getattr(self.request, "session", None)
        try:
            if session is not None and session.modified:
                session.save()
        except Exception as error:
            reporting.report(
                logger,
                "The session of %s could not be saved",
                self.request.path,
                request=self.request,
            )
            self.tell(error)


class Job(NamedTuple):
    """A call with everything that its own thread or greenlet needs to run it.

    Args:
        context: The state of the request's thread.
        call: The view's call.
        websocket: The WebSocket that the project's factory made.
        connection: The engine's connection.
    """

    context: context.RequestContext
    call: Call
    websocket: Any
    connection: _engine.Connection

    def is_alone(self) -> bool:
        """Return whether a task of its own serves the connection, as in a test."""
        return not self.call.handles

    def run(self) -> None:
        """Run the call; after an unhandled exception, close the connection and log."""
        try:
            self.context.run(self._run)
        except BaseException as error:
            give_up(self.connection, self.call.request)
            self.call.tell(error)

    def coroutine(self, run: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """Return what the task of an asynchronous view runs."""
        return run

    def shown(self) -> str:
        """Return the view's path and visitor, for the log."""
        request = self.call.request
        return f"{shown(request.path)} for {visitor(request)}"

    def _run(self) -> None:
        try:
            self.call.run(self.websocket)
        finally:
            # Last: hooks and handlers of the log may use the database, too.
            databases.end()


def give_up(
    connection: _engine.Connection, request: HttpRequest, code: int = INTERNAL_ERROR
) -> None:
    """Close a connection that no view can serve, and log the current exception."""
    connection.close(code, "")
    figures.view_failed()
    reporting.report(
        logger,
        "The WebSocket of %s was closed because it could not be served",
        request.path,
        request=request,
    )

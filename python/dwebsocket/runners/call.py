"""A view's call: what holds while it runs, and the close code that it ends with."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from dwebsocket import _engine, context, signals
from dwebsocket.exceptions import ConfigurationError, PeerGone, WebSocketClosed
from dwebsocket.logins import following, rights
from dwebsocket.process import databases, log, reporting
from dwebsocket.process.reporting import shown
from dwebsocket.websocket import WebSocket
from dwebsocket.websocket import endpoint as endpoints

__all__ = ("ASYNC", "GOING_AWAY", "NORMAL", "Call", "Job", "give_up")

logger = logging.getLogger("dwebsocket.view")

NORMAL, GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR = 1000, 1001, 1008, 1011

ASYNC = (
    "{} is an async view. WebSocket views are synchronous: write 'def', not 'async "
    "def'. (Each runs in a thread of its own, so that waiting holds nobody up.)"
)

#: Statuses of responses that turn a visitor away: redirects and errors of the client.
_REFUSED = range(300, 500)

#: Where Django works on the responses of views.
_AROUND_VIEWS = (
    "django.middleware.",
    "django.utils.cache",
    "django.utils.decorators",
    "django.views.decorators.",
)

#: What a view raises to turn a visitor away: worth a line, not a traceback.
_REFUSALS = (BadRequest, Http404, PermissionDenied, SuspiciousOperation)


def _wants_response(error: Exception) -> bool:
    """Whether something around a view that has returned None insists on a response.

    That is REST framework, or a decorator of Django's (``never_cache``, say).
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
    # With nothing of the project's between: the view is not running any more.
    return "'NoneType'" in str(error) and (
        modules[-1].startswith(_AROUND_VIEWS)
        and all(module.startswith("django.") for module in modules)
    )


class Call:
    """A view's call with its arguments.

    Args:
        view: The view.
        request: What it gets as the request (Django's, or REST framework's).
        args: All positional arguments; the request is among them.
        kwargs: The keyword arguments.
    """

    __slots__ = (
        "args",
        "carried",
        "gone_timeout",
        "kwargs",
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
        #: What the project's hooks bring over from the request's thread.
        self.carried: Sequence[Any] = ()
        #: The setting ``GONE_TIMEOUT``.
        self.gone_timeout: float | None = None
        #: Seconds between two checks of the user's login; None: as the view says.
        self.recheck_interval: float | None = None

    def run(self, websocket: WebSocket) -> None:
        """Call the view and close the WebSocket when it is done.

        Whatever is raised here, the view's own exceptions aside, is for the caller to
        log: a context hook's, say. The WebSocket may be open then.
        """
        if not self.carried:
            # An exit stack would take a kilobyte for as long as the view runs.
            self._run(websocket, ())
            return
        spare = context.again(self.carried)
        with context.applied(self.carried):
            self._run(websocket, spare)

    def _run(self, websocket: WebSocket, spare: Sequence[Any]) -> None:
        code = INTERNAL_ERROR
        endpoint = endpoints.of(websocket)
        connection = endpoint.connection
        try:
            databases.begin()
            endpoint.begin(self.gone_timeout)
            rights.identify(self.request, connection)
            found = rights.Rights(self.request, connection, websocket.close)
            found.carried = spare
            found.never = self.recheck_interval == 0
            endpoint.rights = found
            if self.recheck_interval:
                following.begin(found, self.recheck_interval)
            signals.emit(signals.websocket_opened, websocket, request=self.request)
            code = self._close_code(websocket)
            endpoint.leave()
            self._save_session()
        finally:
            try:
                websocket.close(code)
                if endpoint.rights is not None:
                    following.end(endpoint.rights)
                    endpoint.rights = None
                self._tell_end(websocket)
            finally:
                self._leave(connection)

    def _leave(self, connection: _engine.Connection) -> None:
        """Give back what the view's thread has."""
        try:
            databases.end()
            log.drain()
        finally:
            # The engine wakes views in turn, and this one waits for no message more.
            connection.leave_turn()

    def _close_code(self, websocket: WebSocket) -> int:
        request = self.request
        try:
            # What it returns would be an HTTP response: there is nobody to send it to.
            returned = self._call_view()
            if inspect.iscoroutine(returned):
                # An async view that a synchronous decorator hid from the check.
                returned.close()
                raise ConfigurationError(ASYNC.format(self.view))
        except WebSocketClosed:
            # receive() told the view that the peer has gone, and that was its end.
            return NORMAL
        except _REFUSALS as error:
            logger.warning(
                "Refused (%s): %s: %s",
                type(error).__name__,
                shown(request.path),
                shown(error),
                extra={"request": request},
            )
            return POLICY_VIOLATION
        except Exception:
            reporting.report(
                logger,
                "Error in the WebSocket view of %s",
                request.path,
                request=request,
            )
            return INTERNAL_ERROR
        except PeerGone as gone:
            logger.warning(
                "Ended the WebSocket view %s of %s: %s, and it did not notice "
                "(GONE_TIMEOUT)",
                reporting.name_of(self.view),
                shown(request.path),
                gone,
                extra={"request": request},
            )
            return NORMAL
        except BaseException:
            # SystemExit, or gevent's GreenletExit: this thread is to end.
            return GOING_AWAY
        return self._judge(returned, websocket)

    def _call_view(self) -> Any:
        cached = getattr(self.request, "_cache_update_cache", None)
        try:
            returned = self.view(*self.args, **self.kwargs)
        except (AssertionError, AttributeError, TypeError) as error:
            if not _wants_response(error):
                raise
            return None
        if cached is not False and not getattr(
            self.request, "_cache_update_cache", True
        ):
            raise ConfigurationError(
                f"A cached page answered instead of {reporting.name_of(self.view)}. "
                "Put cache_page above (outside) the WebSocket's decorator."
            )
        return returned

    def _judge(self, returned: Any, websocket: WebSocket) -> int:
        """Return the close code for what a view has returned.

        A response that would have refused plain HTTP (login_required's redirect, say)
        refuses the WebSocket, unless the conversation is over anyway.
        """
        status = getattr(returned, "status_code", 200)
        over = endpoints.of(websocket).has_ended()
        if over or not isinstance(returned, HttpResponseBase) or status not in _REFUSED:
            return NORMAL
        logger.warning(
            "Refused (%s): %s: %s returned this response when the WebSocket was open "
            "already, where nobody gets it. Put what answers so (login_required, "
            "api_view, ...) above the WebSocket's decorator: then it answers the "
            "handshake.",
            status,
            shown(self.request.path),
            reporting.name_of(self.view),
            extra={"request": self.request},
        )
        websocket.close(POLICY_VIOLATION, f"refused ({status})")
        return POLICY_VIOLATION

    def _tell_end(self, websocket: WebSocket) -> None:
        endpoint = endpoints.of(websocket)
        # A copy: another thread may join or leave meanwhile.
        for group in tuple(endpoint.groups or ()):
            signals.emit(signals.group_left, websocket, group=group)
        signals.emit(
            signals.websocket_closed,
            websocket,
            request=self.request,
            code=endpoint.connection.close_code,
            reason=endpoint.connection.close_reason,
        )

    def _save_session(self) -> None:
        """Save what the view changed in the session, as middleware does for HTTP."""
        session = getattr(self.request, "session", None)
        try:
            if session is not None and session.modified:
                session.save()
        except Exception:
            reporting.report(
                logger,
                "The session of %s could not be saved",
                self.request.path,
                request=self.request,
            )


class Job(NamedTuple):
    """A call, and all that it takes to run it in a thread or a greenlet of its own.

    Args:
        context: What holds in the request's thread.
        call: The view's call.
        websocket: The WebSocket that the project's factory has made.
        connection: The engine's connection.
    """

    context: context.RequestContext
    call: Call
    websocket: WebSocket
    connection: _engine.Connection

    def run(self) -> None:
        """Run the call; whatever it does not handle itself is logged."""
        try:
            self.context.run(self.call.run, self.websocket)
        except BaseException:
            give_up(self.connection, self.call.request)


def give_up(
    connection: _engine.Connection, request: HttpRequest, code: int = INTERNAL_ERROR
) -> None:
    """Close a connection that no view serves (any more), and log the exception."""
    connection.close(code, "")
    reporting.report(
        logger,
        "The WebSocket of %s was closed, for it could not be served",
        request.path,
        request=request,
    )

"""Where a view runs: in a thread of its own, or in a greenlet under gevent.

Either way it is not the server's, which goes on answering requests meanwhile.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from . import (
    _engine,
    context,
    cooperation,
    databases,
    engine_log,
    reporting,
    rights,
    signals,
    users,
    watching,
)
from .conf import settings
from .context import RequestContext
from .exceptions import ConfigurationError, PeerGone, WebSocketClosed
from .memory import Crowd
from .reporting import shown
from .websocket import WebSocket

__all__ = ("ASYNC", "Call", "give_up", "join", "kind", "name_of", "start")

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

#: Held while the stack size of new threads is a view's.
_stack_lock = threading.RLock()


def name_of(view: Any) -> str:
    """Return a view's dotted name, that of its class where it was made of one."""
    view = getattr(view, "view_class", None) or getattr(view, "cls", None) or view
    name = getattr(view, "__qualname__", None)
    return f"{view.__module__}.{name}" if name else repr(view)


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
        try:
            databases.begin()
            websocket._owner = threading.get_ident()
            websocket._gone_timeout = self.gone_timeout
            users.identify(self.request, websocket)
            websocket._rights = rights.Rights(self.request)
            websocket._rights.carried = spare
            websocket._rights.never = self.recheck_interval == 0
            if self.recheck_interval:
                watching.begin(websocket, self.recheck_interval)
            signals.emit(signals.websocket_opened, websocket, request=self.request)
            code = self._close_code(websocket)
            # Another thread may have this one's number later.
            websocket._owner = 0
            self._save_session()
        finally:
            try:
                websocket.close(code)
                watching.end(websocket)
                websocket._rights = None
                self._tell_end(websocket)
            finally:
                self._leave(websocket)

    def _leave(self, websocket: WebSocket) -> None:
        """Give back what the view's thread has."""
        try:
            databases.end()
            engine_log.drain()
        finally:
            # The engine wakes views in turn, and this one will not come back for more:
            # to ask without waiting is to let the next one go.
            websocket._connection.receive(0)

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
                name_of(self.view),
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
                f"A cached page answered instead of {name_of(self.view)}. "
                "Put cache_page above (outside) the WebSocket's decorator."
            )
        return returned

    def _judge(self, returned: Any, websocket: WebSocket) -> int:
        """Return the close code for what a view has returned.

        A response that would have refused plain HTTP (login_required's redirect, say)
        refuses the WebSocket, unless the conversation is over anyway.
        """
        status = getattr(returned, "status_code", 200)
        over = websocket._closed or websocket._connection.ended
        if over or not isinstance(returned, HttpResponseBase) or status not in _REFUSED:
            return NORMAL
        logger.warning(
            "Refused (%s): %s: %s returned this response when the WebSocket was open "
            "already, where nobody gets it. Put what answers so (login_required, "
            "api_view, ...) above the WebSocket's decorator: then it answers the "
            "handshake.",
            status,
            shown(self.request.path),
            name_of(self.view),
            extra={"request": self.request},
        )
        websocket.close(POLICY_VIOLATION, f"refused ({status})")
        return POLICY_VIOLATION

    def _tell_end(self, websocket: WebSocket) -> None:
        # A copy: another thread may join or leave meanwhile.
        for group in tuple(websocket._joined or ()):
            signals.emit(signals.group_left, websocket, group=group)
        signals.emit(
            signals.websocket_closed,
            websocket,
            request=self.request,
            code=websocket._connection.close_code,
            reason=websocket._connection.close_reason,
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


class Seat:
    """A thread that waits for its view: it is there before the 101 is sent.

    Args:
        threads: The runner.
    """

    __slots__ = ("_box", "_called", "_thread", "_threads")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._thread: threading.Thread | None = None
        # A bare lock: cheaper than an Event, and it may be released in a forked child.
        self._called = threading.Lock()
        self._called.acquire()
        #: The thread takes the lock, and then what it is to do, if there is anything.
        self._box: list[Any] = [self._called]

    def begin(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system has no thread left.
        """
        self._thread = threading.Thread(
            # Not a method of this object: that would keep it, and so the thread, alive.
            target=self._threads.wait,
            args=(self._box,),
            name="websocket-waiting",
            daemon=True,
        )
        _start_small(self._thread, settings.THREAD_STACK_SIZE)

    def run(
        self,
        context: RequestContext,
        call: Call,
        websocket: WebSocket,
        connection: _engine.Connection,
    ) -> None:
        """Have the thread run the call.

        Raises:
            RuntimeError: The thread has ended: of a MemoryError, or what a debugger
                or a profiler does in each thread.
        """
        if self._thread is None or not self._thread.is_alive():
            raise RuntimeError("the thread that waited for the view has ended")
        self._box.append((context, call, websocket, connection))
        try:
            self._threads.enter(connection)
        except BaseException:
            self._box.pop()
            raise
        self._called.release()

    def cancel(self) -> None:
        """Let the thread end, unless it runs a call; idempotent."""
        if self._called.locked():
            self._called.release()

    __del__ = cancel


class Threads:
    """Runs each view in a daemon thread with a stack of its own size."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a forked child has none of its parent's threads."""
        self._changed = threading.Condition(threading.Lock())
        self._running: set[int] = set()
        self._crowd = Crowd()

    def wake_queue(self) -> _engine.WakeQueue | None:
        """Return None: a thread waits by blocking."""
        return None

    def port(self, connection: _engine.Connection) -> Any:
        """Return None: a thread waits by blocking."""
        return None

    def reserve(self) -> Seat:
        """Return a thread that waits for its call.

        Raises:
            RuntimeError: The system has no thread left.
        """
        seat = Seat(self)
        seat.begin()
        return seat

    def wait(self, box: list[Any]) -> None:
        """Be the thread of a seat: wait for the call, and run it."""
        _engine.settle_stack()
        box.pop(0).acquire()
        if not box:
            return
        context, call, websocket, connection = box.pop()
        threading.current_thread().name = f"websocket-{connection.id}"
        try:
            context.run(call.run, websocket)
        except BaseException:
            give_up(connection, call.request)
        finally:
            self._done(connection)

    def enter(self, connection: _engine.Connection) -> None:
        """Take note that a view begins."""
        with self._changed:
            self._running.add(connection.id)

    def _done(self, connection: _engine.Connection) -> None:
        with self._changed:
            before = len(self._running)
            # Not there: this view has forked, and this is the child.
            self._running.discard(connection.id)
            running = len(self._running)
            if not running:
                self._changed.notify_all()
        self._crowd.left(running, before)

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)


def _start_small(thread: threading.Thread, stack: int) -> None:
    """Start a thread with a stack of its own size; the setting is process-wide."""
    if not stack:
        thread.start()
        return
    with _stack_lock:
        previous = threading.stack_size(stack)
        try:
            thread.start()
        finally:
            threading.stack_size(previous)


_threads = Threads()


def _after_fork_in_child() -> None:
    _stack_lock.release()
    _threads.forget()


# The child is to have neither a lock that nobody releases nor a small default stack.
os.register_at_fork(
    before=_stack_lock.acquire,
    after_in_parent=_stack_lock.release,
    after_in_child=_after_fork_in_child,
)


def kind() -> Any:
    """Return the runner: greenlets where gevent has patched threads."""
    if cooperation.is_patched():
        from . import greenlets

        return greenlets.runner
    return _threads


def join(timeout: float) -> bool:
    """Wait until every view has ended; return whether that was within the time."""
    deadline = time.monotonic() + timeout
    done = _threads.join(timeout)
    greenlets = sys.modules.get(f"{__package__}.greenlets")
    if greenlets is not None:
        done = greenlets.runner.join(max(deadline - time.monotonic(), 0.0)) and done
    return done


def start(
    context: RequestContext, call: Call, websocket: WebSocket, runner: Any
) -> None:
    """Run a view; close the WebSocket where that is not possible."""
    connection = websocket._connection
    try:
        runner.reserve().run(context, call, websocket, connection)
    except RuntimeError:
        connection.close(1013, "try again later")
        path = shown(call.request.path)
        logger.exception("No thread for the WebSocket view of %s", path)
    except Exception:
        give_up(connection, call.request)

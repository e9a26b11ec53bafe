"""Calls the handlers of a connection: ``on_open``, ``on_message``, ``on_close``.

The engine calls :meth:`HandlerCall.begin`, then ``on_message`` for each message, and
:meth:`HandlerCall.finish` at the end; never two of them at a time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any

from django.http import HttpRequest

from dwebsocket import _engine, context, signals
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.process import databases, log
from dwebsocket.websocket.endpoint import Endpoint, of

from .call import NORMAL, Call, Job, give_up

__all__ = ("HandlerCall", "prepared")


class HandlerCall(Call):
    """The handlers of one connection.

    Args:
        handlers: The instance of the project's class: a
            :class:`~dwebsocket.classes.WebSocketView`.
        request: The handshake.
        args: All positional arguments, including the request.
        kwargs: The keyword arguments.
    """

    handles = True
    place = "handler"

    __slots__ = (
        "_entered",
        "_since",
        "ended",
        "handlers",
        "hears",
        "take_on",
        "variables",
        "websocket",
    )

    def __init__(
        self,
        handlers: Any,
        request: HttpRequest,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(type(handlers), request, args, kwargs)
        self.handlers = handlers
        self.websocket: Any = None
        #: Whether something else than the handlers hears of each message.
        self.hears = False
        #: Sets the request's language and so on in its context.
        self.take_on: Callable[[], None] | None = None
        #: The context of the request, for the end without its hooks.
        self.variables: Context | None = None
        #: Called when everything is over.
        self.ended: Callable[[], None] | None = None
        #: Whether ``on_open`` was called, so that ``on_close`` will be.
        self._entered = False
        self._since = 0.0

    def enter(self) -> None:
        """Open the conversation; an exception closes it."""
        try:
            self._begin()
        except BaseException as error:
            self.raised(error)

    def _begin(self) -> None:
        websocket = self.websocket
        self._since = time.monotonic()
        if self.take_on is not None:
            self.take_on()
            self.take_on = None
        databases.begin()
        spare = context.again(self.carried) if self.carried else ()
        self.tell_opening(websocket, spare)
        self.handlers._ws_opened(websocket, self.failed)
        for group in self.handlers._ws_groups():
            websocket.join(group)
        self._entered = True
        self.check_returned(self.handlers.on_open())
        self.hears = websocket.handle is not None

    def move(self) -> None:
        """Have the state of the request hold in the calling thread, too."""
        context.move()

    def hear(self, message: Any) -> None:
        """Send the signal of a message, and call old code's callback."""
        self.websocket._note_message(message)  # noqa: SLF001 - of the same package

    def is_over(self) -> bool:
        """Return whether this side has closed: no more messages are handled."""
        return bool(of(self.websocket).closed)

    def look_at(self, value: Any) -> None:
        """Look at what ``on_message`` has returned; close if that is a mistake."""
        try:
            self.check_returned(value)
        except ConfigurationError as error:
            self.raised(error)

    def raised(self, error: BaseException) -> None:
        """Log the exception of a handler, and close the connection."""
        try:
            raise error
        except BaseException as caught:
            code = self.code_of(caught)
        self.websocket.close(code)

    def finish(self) -> None:
        """Call ``on_close``, and end the conversation."""
        try:
            if self._entered:
                self._call_on_close()
            self.save_session()
        finally:
            try:
                self.close(self.websocket, NORMAL, self._since)
                self.tell_end(self.websocket)
            finally:
                self._forget()

    def _call_on_close(self) -> None:
        self._entered = False
        try:
            code = of(self.websocket).connection.close_code
            self.check_returned(self.handlers.on_close(1006 if code is None else code))
        except BaseException as error:
            self.raised(error)

    def lose(self, error: BaseException) -> None:
        """Give the connection up: a hook of the project's has failed, not a handler.

        What is due at the end is done all the same, without the hooks.
        """
        try:
            raise error
        except BaseException as caught:
            give_up(of(self.websocket).connection, self.request)
            self.tell(caught)
        finally:
            self._end_anyway()

    def _end_anyway(self) -> None:
        if not self._since or self.variables is None:
            # It has not begun, or the end itself has failed.
            self._forget()
            return
        try:
            self.variables.run(self.finish)
        except BaseException as error:
            self.tell(error)

    def _forget(self) -> None:
        ended, self.ended, self.variables = self.ended, None, None
        self.handlers._ws_ended()
        try:
            log.drain()
        finally:
            if ended is not None:
                ended()

    def run(self, websocket: Any) -> None:
        """Serve the connection in a thread (greenlet) of its own.

        For ``dwebsocket.testing``, whose views take turns with the test.
        """
        self.websocket = websocket
        with contextlib.ExitStack() as stack:
            if self.carried:
                stack.enter_context(context.applied(context.again(self.carried)))
            self._serve(websocket, of(websocket))

    def _serve(self, websocket: Any, endpoint: Endpoint) -> None:
        endpoint.begin(self.gone_timeout)
        handle = self.handlers._ws_handler()
        try:
            self.enter()
            while not endpoint.closed:
                message = websocket.wait()
                if message is None:
                    break
                try:
                    self.check_returned(handle(message))
                except BaseException as error:
                    self.raised(error)
        finally:
            endpoint.leave()
            self.finish()


class Around:
    """Runs functions with the state of a request, where a context does not do.

    Django's local state may belong to the thread (old versions of asgiref), hooks of
    the project may apply something to the thread, or another thread's database
    connections may be lent.

    Args:
        job: The call with its context.
    """

    __slots__ = ("_job",)

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function with that state."""
        job = self._job
        with contextlib.ExitStack() as stack:
            stack.callback(databases.unshare)
            return job.context.run(self._run, function, *args)

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        carried = self._job.call.carried
        try:
            if not carried:
                return function(*args)
            with context.applied(context.again(carried)):
                return function(*args)
        finally:
            databases.unshare()


def prepared(job: Job) -> _engine.Handled:
    """Return the connection of a call (a :class:`HandlerCall`), ready to be served."""
    call: Any = job.call
    call.websocket = job.websocket
    call.take_on = job.context.take_on
    call.variables = job.context.variables
    endpoint = of(job.websocket)
    # Which thread runs a handler is known to the loop.
    endpoint.begin(call.gone_timeout)
    endpoint.leave()
    around = call.carried or job.context.is_of_thread()
    return _engine.Handled(
        job.connection,
        Around(job) if around else job.context.variables,
        call,
        call.handlers._ws_handler(),
        signals.websocket_message,
    )

"""Calls handlers of which some are coroutine functions, in the event loop.

A task lives only while there is something for the handlers of its connection. Handlers
that are plain functions run in a thread of the connection's (``sync_to_async``).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from dwebsocket import _engine, context, signals
from dwebsocket.websocket.aio import TaskEndpoint
from dwebsocket.websocket.endpoint import of

from .acall import AsyncCall, lose, settle
from .call import NORMAL, Job
from .calls import in_thread

__all__ = ("AsyncHandlerCall", "Tasks")

#: Seconds after which a task that finds message after message lets others run.
_SLICE = 0.001
#: Messages between two looks at the clock.
_STRIDE = 8


class AsyncHandlerCall(AsyncCall):
    """The handlers of one connection, of which some are coroutine functions.

    Args:
        handlers: As for :class:`.handlers.HandlerCall`.
        request: The handshake.
        args: All positional arguments, including the request.
        kwargs: The keyword arguments.
    """

    handles = True
    place = "handler"

    __slots__ = (
        "_entered",
        "_since",
        "begun",
        "ended",
        "handlers",
        "on_message",
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
        self.on_message = handlers._ws_handler()
        self.websocket: Any = None
        #: Whether the end is due.
        self.begun = False
        #: Called when everything is over.
        self.ended: Callable[[], None] | None = None
        self._entered = False
        self._since = 0.0

    async def enter(self) -> None:
        """Open the conversation; an exception closes it."""
        self.begun = True
        self._since = time.monotonic()
        await self._guarded(self._open)

    async def _open(self) -> None:
        websocket: Any = self.websocket
        endpoint: Any = of(websocket)
        if self.cancels:
            endpoint.tasks.at_end(functools.partial(self._peer_gone, endpoint))
        await self._begin(websocket, endpoint)
        self.handlers._ws_opened(websocket, self.failed)
        for group in self.handlers._ws_groups():
            await websocket.join(group)
        self._entered = True
        await self._call(self.handlers.on_open)

    def _peer_gone(self, endpoint: TaskEndpoint) -> None:
        # on_close is called because of the end, which must not cancel it.
        if self.begun:
            super()._peer_gone(endpoint)

    async def handle(self, message: Any) -> None:
        """Call ``on_message``; an exception closes the connection."""
        await self._guarded(self.on_message, message)

    def hear(self, message: Any) -> None:
        """Send the signal of a message, and call old code's callback."""
        if signals.websocket_message.receivers or self.websocket.handle is not None:
            self.websocket._note_message(message)  # noqa: SLF001 - the same package

    def is_over(self) -> bool:
        """Return whether this side has closed: no more messages are handled."""
        return bool(of(self.websocket).closed)

    async def _call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a handler, whichever kind it is of.

        Raises:
            ConfigurationError: See :meth:`.Call.check_returned`.
        """
        if iscoroutinefunction(function):
            await function(*args)
            return
        self.check_returned(await in_thread(function, *args))

    async def _guarded(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a handler; after an exception, close the connection."""
        self._task = asyncio.current_task()
        try:
            try:
                await self._call(function, *args)
            finally:
                # What follows is not cancelled when the peer goes.
                self._task = None
        except BaseException as error:
            self.websocket.close(await self._acode_of(error))

    async def rest(self) -> None:
        """Let others run; if the process ends meanwhile, close the connection."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            self.websocket.close(self._after_cancel(error))

    async def finish(self) -> None:
        """Call ``on_close``, and end the conversation."""
        self.begun = False
        endpoint: Any = of(self.websocket)
        if self.cancels:
            endpoint.tasks.forget_end()
        try:
            if self._entered:
                self._entered = False
                code = endpoint.connection.close_code
                await self._guarded(
                    self.handlers.on_close, 1006 if code is None else code
                )
            await self._asave_session()
        finally:
            self.handlers._ws_ended()
            await self.aend(self.websocket, NORMAL, self._since)

    async def end_anyway(self) -> None:
        """Do what is due at the end, unless the end itself has failed."""
        if self.begun:
            try:
                await self.finish()
            except BaseException as error:
                self.tell(error)

    async def _arun(self, websocket: Any) -> None:
        """Serve the connection in one task.

        For ``dwebsocket.testing``, whose views take turns with the test.
        """
        self.websocket = websocket
        endpoint = of(websocket)
        try:
            await self.enter()
            while not endpoint.closed:
                message = await websocket.wait()
                if message is None:
                    break
                await self.handle(message)
        finally:
            await self.finish()


class Tasks:
    """Starts a task for a connection whenever there is something for its handlers.

    Args:
        job: The call.
        loop: The loop of asyncio.
        engine: The engine's view of the loop.
        ended: Called when everything is over.
    """

    __slots__ = ("_calls", "_context", "_ended", "_engine", "_handled", "_job", "_loop")

    def __init__(
        self,
        job: Job,
        loop: asyncio.AbstractEventLoop,
        engine: _engine.TaskLoop,
        ended: Callable[[], None],
    ) -> None:
        self._job, self._loop, self._engine, self._ended = job, loop, engine, ended
        self._context = job.context.variables
        self._context.run(settle, job)
        call: Any = job.call
        call.websocket = job.websocket
        self._handled = _prepared(job, call)
        engine.handle(job.connection.id, self._wake, self._handled)

    def _wake(self, handled: _engine.Handled) -> None:
        """Start a task, unless one runs; called in the loop."""
        if not handled.claim():
            return
        work = self._work(handled)
        if sys.version_info >= (3, 12):
            # The first step runs at once, and often it is the only one.
            task = asyncio.Task(
                work, loop=self._loop, context=self._context, eager_start=True
            )
        elif sys.version_info >= (3, 11):
            task = self._loop.create_task(work, context=self._context)
        else:
            task = self._context.run(self._loop.create_task, work)
        if not task.done():
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    async def _work(self, handled: _engine.Handled) -> None:
        call: Any = self._job.call
        endpoint: Any = of(self._job.websocket)
        try:
            if not call.carried:
                over = await self._serve(handled, call)
            else:
                with context.applied(context.again(call.carried)):
                    over = await self._serve(handled, call)
        except BaseException as error:
            lose(self._job, error)
            endpoint.calls.carried = ()
            await call.end_anyway()
            over = True
        if sys.version_info < (3, 11):
            # The task had a copy of the context; the next one goes on with it.
            self._context = contextvars.copy_context()
        if over:
            self._engine.forget(self._job.connection.id)
            endpoint.calls.end()
            self._ended()

    async def _serve(self, handled: _engine.Handled, call: AsyncHandlerCall) -> bool:
        """Handle what there is; return whether everything is over."""
        if not call.begun:
            await call.enter()
        count, since = 0, time.monotonic()
        while True:
            message = handled.take()
            if message is None:
                endpoint: Any = of(self._job.websocket)
                if endpoint.calls.worker is not None:
                    endpoint.calls.rest()
                return False
            if message is False:
                await call.finish()
                return True
            call.hear(message)
            await call.handle(message)
            count += 1
            if count % _STRIDE == 0 and time.monotonic() - since > _SLICE:
                await call.rest()
                since = time.monotonic()


def _prepared(job: Job, call: AsyncHandlerCall) -> _engine.Handled:
    return _engine.Handled(
        job.connection, None, call, call.on_message, signals.websocket_message
    )


#: The loop itself has only weak references to its tasks.
_tasks: set[Any] = set()

"""The call of an asynchronous view, in a task of the event loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async

from dwebsocket import context, signals
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.logins import following
from dwebsocket.process import habits, log
from dwebsocket.process.reporting import name_of
from dwebsocket.websocket.aio import AsyncWebSocket, TaskEndpoint
from dwebsocket.websocket.endpoint import of

from .call import (
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL,
    Call,
    Job,
    give_up,
    wants_response,
)
from .calls import Calls

__all__ = ("AsyncCall", "lose", "make_sensitive", "run", "settle")

#: Why the package itself has cancelled a view.
_GONE, _STOPPED = "gone", "stopped"


class AsyncCall(Call):
    """The call of a view that is a coroutine function, with its arguments."""

    asynchronous = True

    __slots__ = ("_cancelled", "_task")

    def __init__(self, view: Callable[..., Any], *rest: Any) -> None:
        super().__init__(view, *rest)
        self._task: asyncio.Task[Any] | None = None
        #: Why the package has cancelled the view; None: it has not.
        self._cancelled: str | None = None

    def stop(self) -> None:
        """Note that the task is being cancelled because the process ends."""
        self._cancelled = self._cancelled or _STOPPED

    async def arun(self, websocket: AsyncWebSocket[Any]) -> None:
        """Call the view and close the WebSocket when the view has ended."""
        if not self.carried:
            await self._arun(websocket)
            return
        with context.applied(context.again(self.carried)):
            await self._arun(websocket)

    async def _arun(self, websocket: AsyncWebSocket[Any]) -> None:
        code = INTERNAL_ERROR
        since = time.monotonic()
        endpoint: Any = of(websocket)
        try:
            await self._begin(websocket, endpoint)
            code = await self._aclose_code(websocket, endpoint)
            await self._asave_session()
        finally:
            await self.aend(websocket, code, since)

    async def aend(
        self, websocket: AsyncWebSocket[Any], code: int, since: float
    ) -> None:
        """Close the WebSocket, and tell others; see :meth:`.Call.end`."""
        endpoint = of(websocket)
        endpoint.leave()
        try:
            self.close(websocket, code, since)
            if signals.websocket_closed.receivers or (
                endpoint.groups and signals.group_left.receivers
            ):
                await sync_to_async(self.tell_end)(websocket)
        finally:
            log.drain()

    async def _begin(
        self, websocket: AsyncWebSocket[Any], endpoint: TaskEndpoint
    ) -> None:
        endpoint.begin(self.gone_timeout)
        found = self.note_rights(websocket, context.again(self.carried))
        if self.recheck_interval:
            await sync_to_async(following.begin)(found, self.recheck_interval)
        self.log_opening()
        if signals.websocket_opened.receivers:
            await sync_to_async(signals.emit)(
                signals.websocket_opened, websocket, request=self.request
            )

    async def _aclose_code(
        self, websocket: AsyncWebSocket[Any], endpoint: TaskEndpoint
    ) -> int:
        self._task = asyncio.current_task()
        if self.cancels:
            endpoint.tasks.at_end(functools.partial(self._peer_gone, endpoint))
        try:
            returned = await self._acall_view()
        except BaseException as error:
            return await self._acode_of(error)
        finally:
            self._task = None
            if self.cancels:
                endpoint.tasks.forget_end()
        return self.judge(returned, websocket)

    async def _acall_view(self) -> Any:
        cached = self.is_cached()
        try:
            returned = self.view(*self.args, **self.kwargs)
            if not inspect.isawaitable(returned):
                raise ConfigurationError(
                    f"{name_of(self.view)} counts as an async view, but has returned "
                    f"{type(returned).__name__} and nothing to await."
                )
            returned = await returned
        except (AssertionError, AttributeError, TypeError) as error:
            if not wants_response(error):
                raise
            return None
        self.check_cached(cached)
        return returned

    def _peer_gone(self, endpoint: TaskEndpoint) -> None:
        """Cancel the view, unless it has closed the WebSocket itself."""
        if self._task is not None and not endpoint.closed:
            self._cancelled = _GONE
            self._task.cancel()

    async def _acode_of(self, error: BaseException) -> int:
        """Return the close code after an exception; see :meth:`.Call.code_of`."""
        if isinstance(error, asyncio.CancelledError):
            return self._after_cancel(error)
        if not isinstance(error, Exception):
            return self.code_of(error)
        if self._cancelled is not None:
            self._uncancel()
        # What reports the error may take its time: mails to ADMINS, for example.
        code: int = await sync_to_async(self.code_of)(error)
        return code

    def _after_cancel(self, error: BaseException) -> int:
        if self._cancelled is None:
            # The view has let the cancellation of something else pass.
            return self.failed(error)
        self._uncancel()
        return NORMAL if self._cancelled is _GONE else GOING_AWAY

    def _uncancel(self) -> None:
        """Let the rest of this task use ``asyncio.timeout()``."""
        task: Any = asyncio.current_task()
        if sys.version_info >= (3, 11):
            task.uncancel()

    async def _asave_session(self) -> None:
        session = getattr(self.request, "session", None)
        if session is not None and session.modified:
            await sync_to_async(self.save_session)()


async def run(job: Job) -> None:
    """Run an asynchronous view's call, as :meth:`.Job.run` does a synchronous one's."""
    call: Any = job.call
    calls = settle(job)
    try:
        await call.arun(job.websocket)
    except BaseException as error:
        lose(job, error)
    finally:
        calls.end()


def lose(job: Job, error: BaseException) -> None:
    """Give a connection up, while the exception is being handled.

    A hook of the project has failed, or the process ends outside of the view.
    """
    stopped = isinstance(error, asyncio.CancelledError)
    give_up(job.connection, job.call.request, GOING_AWAY if stopped else INTERNAL_ERROR)
    job.call.tell(error)


def settle(job: Job) -> Calls:
    """Prepare the context of a call; return the executor of its synchronous calls."""
    endpoint: Any = of(job.websocket)
    calls = endpoint.calls = Calls(job.context.databases, job.call.carried)
    make_sensitive(calls)
    habits.serving.set(endpoint.habit)
    job.context.take_on()
    return calls


def make_sensitive(calls: Calls) -> None:
    """Have ``sync_to_async`` make the calls of this context in a thread of its own.

    Args:
        calls: The executor that makes them.
    """
    sensitive = ThreadSensitiveContext()
    SyncToAsync.thread_sensitive_context.set(sensitive)
    SyncToAsync.context_to_thread_executor[sensitive] = calls

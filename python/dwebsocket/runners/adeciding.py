"""The call of an asynchronous view that accepts its WebSocket by hand."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from dwebsocket import _engine, context
from dwebsocket.exceptions import HandshakeError
from dwebsocket.process import log
from dwebsocket.websocket.aio import AsyncWebSocket
from dwebsocket.websocket.endpoint import of
from dwebsocket.websocket.pending import Headers

from .acall import AsyncCall
from .call import INTERNAL_ERROR
from .door import Door, changed

__all__ = ("AsyncDecidingCall",)


def _nothing() -> None:
    """Do nothing, in the thread of a view's calls."""


def _calls(websocket: AsyncWebSocket[Any]) -> Any:
    """Return the synchronous calls of a view."""
    endpoint: Any = of(websocket)
    return endpoint.calls


class AsyncDecidingCall(AsyncCall):
    """The call of an asynchronous view that calls ``accept()``, or refuses."""

    decides = True

    __slots__ = (
        "_before",
        "_loop",
        "_since",
        "_spare",
        "_withdrawn",
        "door",
        "on_open",
        "shared",
    )

    door: Door

    def __init__(self, view: Callable[..., Any], *rest: Any) -> None:
        super().__init__(view, *rest)
        #: Database connections that belong to a test; see ``RequestContext``.
        self.shared: dict[str, Any] = {}
        #: Returns what to await when the connection is there; set by
        #: ``dwebsocket.testing``.
        self.on_open: Callable[[_engine.Connection], Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._since = 0.0
        #: Whether the view was cancelled because the time limit is over.
        self._withdrawn = False
        self._spare: Sequence[Any] = ()

    def withdraw(self) -> None:
        """Cancel the view: the time limit is over."""
        self.stop()
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._cancel_once)

    def _cancel_once(self) -> None:
        task = self._task
        if task is not None and not self._withdrawn:
            self._withdrawn = True
            task.cancel()

    async def _arun(self, websocket: AsyncWebSocket[Any]) -> None:
        door = self.door
        self._loop = asyncio.get_running_loop()
        _calls(websocket).shared = door.lent
        self._spare = context.again(self.carried)
        self._before = context.snapshot()
        code = INTERNAL_ERROR
        returned: Any = None
        error: BaseException | None = None
        self._task = asyncio.current_task()
        if not door.is_undecided:
            # The time was over before the loop came to this view.
            self.withdraw()
        try:
            try:
                returned = await self._acall_view()
            except BaseException as failure:
                if door.is_undecided:
                    error = self._explained(failure)
                else:
                    code = await self._acode_of(failure)
            else:
                if self._is_through(websocket):
                    code = self.judge(returned, websocket)
            finally:
                self._task = None
            if self._is_through(websocket):
                await self._asave_session()
        finally:
            if door.is_undecided:
                await self._give_databases_back(websocket)
                door.answer(returned, error, changed(self._before))
                log.drain()
            elif self._is_through(websocket):
                await self.aend(websocket, code, self._since)
            else:
                door.abandon()
                if door.keeps_databases:
                    # After the calls that still run.
                    await sync_to_async(door.close_databases)()

    def _is_through(self, websocket: AsyncWebSocket[Any]) -> bool:
        """Return whether ``accept()`` has got the connection."""
        return of(websocket).connection is not self.door.pending  # type: ignore[comparison-overlap]

    def _explained(self, error: BaseException) -> BaseException:
        """Return the exception for the request's thread."""
        if isinstance(error, asyncio.CancelledError) and self._cancelled is not None:
            self._uncancel()
            return HandshakeError("This process ends.", 503, (("Retry-After", "10"),))
        return error

    async def accept(
        self,
        websocket: AsyncWebSocket[Any],
        subprotocol: str | None,
        headers: Headers | None,
    ) -> None:
        """Have the request's thread send the 101, and wait for that."""
        door = self.door
        door.prepare(subprotocol, headers)
        changes = changed(self._before)
        await self._give_databases_back(websocket)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not told.done():
                told.set_result(None)

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle)

        door.ask(tell, changes)
        try:
            await told
        except asyncio.CancelledError:
            door.abandon()
            raise
        connection, port = door.through()
        endpoint: Any = of(websocket)
        endpoint.go_on(connection, port(*door.pending.port_options))
        websocket.subprotocol = door.subprotocol
        self._since = time.monotonic()
        if self.on_open is not None:
            await self.on_open(connection)
        if self.cancels:
            endpoint.tasks.at_end(functools.partial(self._peer_gone, endpoint))
        await self._begin(websocket, endpoint)

    async def _give_databases_back(self, websocket: AsyncWebSocket[Any]) -> None:
        """Have the view's calls use database connections of their own from now on."""
        calls = _calls(websocket)
        calls.shared = self.shared
        if calls.worker is not None:
            # The calls that were made before come first.
            calls.end()
            await sync_to_async(_nothing)()

"""The call of a view that accepts its WebSocket by hand."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from dwebsocket import _engine, context
from dwebsocket.process import databases, log
from dwebsocket.websocket import WebSocket
from dwebsocket.websocket import endpoint as endpoints
from dwebsocket.websocket.pending import Headers

from .call import INTERNAL_ERROR, Call
from .door import Door, changed

__all__ = ("DecidingCall",)


class DecidingCall(Call):
    """The call of a synchronous view that calls ``accept()``, or refuses."""

    decides = True

    __slots__ = ("_before", "_hooks", "_since", "_spare", "door", "on_open", "shared")

    door: Door

    def __init__(self, view: Callable[..., Any], *rest: Any) -> None:
        super().__init__(view, *rest)
        #: Database connections that belong to a test; see ``RequestContext``.
        self.shared: dict[str, Any] = {}
        #: Called with the connection in the view's thread; set by
        #: ``dwebsocket.testing``.
        self.on_open: Callable[[_engine.Connection], Any] | None = None
        self._hooks = contextlib.ExitStack()
        self._since = 0.0
        #: Copies of what the hooks carry over: for after ``accept()``, and for the
        #: checks of the login.
        self._spare: list[Sequence[Any]] = []

    def withdraw(self) -> None:
        """Note that the time limit is over: a thread cannot be ended."""

    def run(self, websocket: WebSocket[Any]) -> None:
        """Call the view; its answer goes to the request's thread.

        If the view accepts, go on as :meth:`.Call.run` does.
        """
        try:
            self._run_view(websocket)
        finally:
            self.door.close_databases()

    def _run_view(self, websocket: WebSocket[Any]) -> None:
        door = self.door
        self._spare = [context.again(self.carried) for _ in range(2)]
        databases.begin()
        databases.share(door.lent)
        self._before = context.snapshot()
        returned: Any = None
        error: BaseException | None = None
        try:
            with self._hooks:
                self._hooks.enter_context(context.applied(self.carried))
                returned, error = self._decide(websocket)
        except BaseException as failure:
            if not door.is_undecided:
                raise
            error = failure
        databases.unshare()
        door.answer(returned, error, changed(self._before))

    def _decide(self, websocket: WebSocket[Any]) -> tuple[Any, BaseException | None]:
        """Call the view; return what it has returned or raised before ``accept()``."""
        code = INTERNAL_ERROR
        try:
            try:
                returned = self._call_view()
                self.check_returned(returned)
            except BaseException as error:
                if self.door.is_undecided:
                    return None, error
                code = self.code_of(error)
                return None, None
            if self._is_through(websocket):
                code = self.judge(returned, websocket)
                self.save_session()
            return returned, None
        finally:
            if self._is_through(websocket):
                self.end(websocket, code, self._since)
            else:
                self.door.abandon()
                log.drain()

    def _is_through(self, websocket: WebSocket[Any]) -> bool:
        """Return whether ``accept()`` has got the connection."""
        return endpoints.of(websocket).connection is not self.door.pending  # type: ignore[comparison-overlap]

    def accept(
        self,
        websocket: WebSocket[Any],
        subprotocol: str | None,
        headers: Headers | None,
    ) -> None:
        """Have the request's thread send the 101, and wait for that."""
        door = self.door
        door.prepare(subprotocol, headers)
        changes = changed(self._before)
        self._leave_request()
        told = threading.Event()
        door.ask(told.set, changes)
        told.wait()
        connection, port = door.through()
        endpoint = endpoints.of(websocket)
        endpoint.use(connection, port)
        websocket.subprotocol = door.subprotocol
        self._since = time.monotonic()
        if self.on_open is not None:
            self.on_open(connection)
        self.begin(websocket, self._spare.pop())

    def _leave_request(self) -> None:
        """Give the request's database connections back; the hooks see our own."""
        self._hooks.close()
        databases.unshare()
        databases.share(self.shared)
        self._hooks.enter_context(context.applied(self._spare.pop()))

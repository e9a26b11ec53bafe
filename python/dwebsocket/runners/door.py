"""The way between a request's thread and its view, which decides on the handshake.

The view runs in its own thread (greenlet, task) while the request's thread waits. The
view answers: with a response, with an exception, or by asking to be accepted. In the
last case the request's thread goes back through the middleware, and opens the door when
the 101 has been sent.
"""

from __future__ import annotations

import contextvars
import itertools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from dwebsocket import _engine, context
from dwebsocket.exceptions import ConfigurationError, WebSocketClosed
from dwebsocket.process import databases, native
from dwebsocket.websocket.pending import LOST, Headers, Pending

from .headers import checked
from .notice import Notice, notice

__all__ = ("Answer", "Door", "carry_back", "changed")

#: Numbers of connections that are not open yet; those of the engine are positive.
_numbers = itertools.count(-1, -1)

#: The states of a door, in the order in which they come.
_DECIDING, _ASKED, _OPEN, _LOST, _ANSWERED, _LATE = range(6)

_AGAIN = "accept() was called before: a WebSocket is accepted once."
_LATE_CALL = (
    "accept() comes too late: the client has got 503, because the view had not decided "
    "within {} seconds (ACCEPT_TIMEOUT)."
)
_INSIDE = (
    "accept() is called inside of transaction.atomic(). The response middleware runs, "
    "and ATOMIC_REQUESTS commits, before accept() returns: end the block first."
)


def changed(before: contextvars.Context) -> list[tuple[Any, Any]]:
    """Return the context variables that were set since a snapshot, and their values."""
    return [
        (variable, value)
        for variable, value in contextvars.copy_context().items()
        if before.get(variable, before) is not value
        and variable not in databases.OF_THREADS
        and variable not in context.EXECUTORS
    ]


def carry_back(changes: list[tuple[Any, Any]]) -> None:
    """Set context variables, as if the view had run in this context."""
    for variable, value in changes:
        variable.set(context.own(variable, value))


class Answer(NamedTuple):
    """What a view says about its handshake.

    Args:
        accepted: Whether it has called ``accept()``.
        returned: What it has returned.
        error: The exception that has ended it.
        changes: See :func:`changed`.
    """

    accepted: bool
    returned: Any = None
    error: BaseException | None = None
    changes: list[tuple[Any, Any]] = []


class Door:
    """Stands between one request and its view; also in place of the connection.

    Args:
        call: The view's call.
        handshake: The client's handshake.
        subprotocol: What the decorator's ``subprotocols`` have chosen.
        limit: Seconds within which the view has to decide.
    """

    def __init__(
        self,
        call: Any,
        handshake: _engine.Handshake,
        subprotocol: str | None,
        limit: float,
    ) -> None:
        self.id = next(_numbers)
        self.pending = Pending(call, self.id)
        #: The subprotocol and the headers of the 101.
        self.subprotocol = subprotocol
        self.headers: list[tuple[str, str]] = []
        #: The request's database connections, which the view uses until it accepts.
        self.lent: dict[str, Any] = {}
        #: Those that a view that is late keeps.
        self._left: dict[str, Any] = {}
        self._depths: list[int] = []
        self._handshake = handshake
        self._limit = limit
        self._notice: Notice = notice(call.asynchronous)
        # Held for moments only: a native lock holds up no other greenlet. The garbage
        # collector may call lose() in a thread that holds it.
        self._lock = native.original("_thread", "RLock")()
        self._state = _DECIDING
        self._answer: Answer | None = None
        self._told: Callable[[], None] | None = None
        self._opened: tuple[_engine.Connection, Any] | None = None
        self._abandoned = False

    # The request's thread.

    def lend(self) -> None:
        """Lend this thread's database connections to the view."""
        self.lent = databases.lend()
        self._depths = databases.depths(self.lent)

    def wait(self, start: Callable[[], None]) -> Answer | None:
        """Start the view and return its answer; None after the time limit."""
        started = False
        try:
            start()
            started = True
            self._notice.wait(self._limit)
        finally:
            with self._lock:
                late = self._state is _DECIDING
                if late:
                    self._state = _LATE
                if late and started:
                    # The view may be inside of a query, or of atomic().
                    self._left = databases.leave(self.lent)
            if not (late and started):
                databases.give_back(self.lent)
        return self._answer

    def open(self, connection: _engine.Connection, port: Any) -> None:
        """Let the view go on with its connection."""
        with self._lock:
            if self._abandoned:
                connection.close(1011, "")
            self._opened = connection, port
            self._state = _OPEN
        self._tell()

    def lose(self) -> None:
        """Tell the view that there will be no connection; no effect if there is one."""
        with self._lock:
            if self._state is not _ASKED:
                return
            self._state = _LOST
            self.pending.lost = True
        self._tell()

    def _tell(self) -> None:
        told, self._told = self._told, None
        if told is not None:
            told()

    # The view's thread.

    @property
    def is_open(self) -> bool:
        """Whether the view has a connection."""
        return self._state is _OPEN

    @property
    def is_undecided(self) -> bool:
        """Whether the request's thread waits for the view."""
        return self._state is _DECIDING

    def close_databases(self) -> None:
        """Close what a request has left to its view, which was late and has ended."""
        with self._lock:
            left, self._left = self._left, {}
        databases.close(left)

    @property
    def keeps_databases(self) -> bool:
        """Whether the request has left its database connections to the view."""
        with self._lock:
            return bool(self._left)

    def prepare(self, subprotocol: str | None, headers: Headers | None) -> None:
        """Check the arguments of ``accept()``, and keep them.

        Raises:
            RuntimeError: It is too late, or the view is inside of ``atomic()``.
            ValueError, TypeError: An argument is wrong.
        """
        if self._state is _LATE:
            raise RuntimeError(_LATE_CALL.format(self._limit))
        if self._state is not _DECIDING:
            raise RuntimeError(_AGAIN)
        if databases.depths(self.lent) != self._depths:
            raise RuntimeError(_INSIDE)
        chosen = self.subprotocol if subprotocol is None else subprotocol or None
        found = checked(self._handshake, chosen, headers)
        self.subprotocol, self.headers = chosen, found

    def ask(
        self, told: Callable[[], None], changes: list[tuple[Any, Any]] | None = None
    ) -> None:
        """Ask to be accepted.

        Args:
            told: Called by the request's thread: the door is open, or lost.
            changes: See :func:`changed`.

        Raises:
            RuntimeError: It is too late, or another task has asked.
        """
        with self._lock:
            if self._state is _LATE:
                raise RuntimeError(_LATE_CALL.format(self._limit))
            if self._state is not _DECIDING:
                raise RuntimeError(_AGAIN)
            self._told = told
            self._say(_ASKED, Answer(True, changes=changes or []))

    def answer(
        self,
        returned: Any,
        error: BaseException | None,
        changes: list[tuple[Any, Any]] | None = None,
    ) -> None:
        """Answer without having accepted; no effect if that is too late."""
        with self._lock:
            if self._state is _DECIDING:
                self._say(_ANSWERED, Answer(False, returned, error, changes or []))

    def _say(self, state: int, answer: Answer) -> None:
        self._state, self._answer = state, answer
        self._notice.set()

    def through(self) -> tuple[_engine.Connection, Any]:
        """Return the connection and its port, after the view has been told.

        Raises:
            WebSocketClosed: There is none.
        """
        if self._opened is None:
            raise WebSocketClosed(1006, LOST)
        return self._opened

    def abandon(self, code: int = 1011, reason: str = "") -> None:
        """Note that the view waits for its connection no longer; close it."""
        with self._lock:
            self._abandoned = True
            opened = self._opened
        if opened is not None:
            opened[0].close(code, reason)

    def close(self, code: int, reason: str) -> bool:
        """Close the connection as the engine does; without one, end the request."""
        self.abandon(code, reason)
        self.answer(None, sys.exc_info()[1] or ConfigurationError("the view was ended"))
        return False

"""Runs the views of a test: each in a thread of its own, in turns with the test."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from dwebsocket import _engine, runners
from dwebsocket.exceptions import ConfigurationError, PeerGone
from dwebsocket.process.reporting import name_of
from dwebsocket.runners import Job, call, threads
from dwebsocket.runners.calls import THREAD_NAME

from . import stage
from .stage import Stage

__all__ = ("Runner", "View")

#: A view that gets less than this share of the processor does not work.
_SHARE = 0.1

#: Files whose frames say nothing about where a view is.
_TURNS = (__file__, stage.__file__, threading.__file__)
_CALL = call.__file__

_INLINE = (
    "A middleware has opened this WebSocket in the request's own thread, which is the "
    "test's: the view cannot wait there for what the test sends later. Test it over a "
    "live server (docs/testing.md)."
)


def _spent_by_calls() -> float:
    """Return the seconds of processor time of threads that make synchronous calls.

    Asynchronous views work there: they query, for example.
    """
    spent = 0
    for thread in threading.enumerate():
        # A thread may end in this moment.
        if thread.name == THREAD_NAME:
            with contextlib.suppress(OSError):
                file = Path("/proc/self/task", str(thread.native_id), "schedstat")
                spent += int(file.read_text().split()[0])
    return spent / 1e9


def _may_interrupt() -> bool:
    """Return whether a thread may be sent an exception.

    On CPython 3.11, a thread that coverage or a debugger traces stands still until the
    other thread has raised the exception. If that one waits, it never does.
    """
    return sys.version_info[:2] != (3, 11) or sys.gettrace() is None


class View:
    """The view that a client talks to.

    Args:
        stage: Where the view and the test take turns.
        path: The URL of the request.
    """

    def __init__(self, stage: Stage, path: str) -> None:
        self.stage = stage
        self.path = path
        self.connection: _engine.Connection | None = None
        #: The view's database connections that belong to the test.
        self.borrowed: tuple[Any, ...] = ()
        #: How many messages the client has sent, and how many the view has taken.
        self.sent = self._taken = 0
        self.idle = 0
        self.running = self.free = False
        #: Whether the client has left, so that the view has to end.
        self.left = False
        #: Whether the view has ended, and the exception that ended it.
        self.ended = False
        self.error: BaseException | None = None
        #: Whether the exception is one that refuses a visitor (PermissionDenied, say).
        self.refused = False
        #: Whether the view has still to accept: the test waits for that.
        self.deciding = False
        self._has_rested = False
        self._worked = (0.0, 0.0)
        self._depth: list[int] = []
        #: The thread that runs the view, as long as it does.
        self._thread: threading.Thread | None = None
        self._waiting: tuple[runners.Seat, Turn] | None = None
        self._begun = False
        #: Makes the coroutine of an asynchronous view wait for its turn.
        self.wrap: Callable[..., Coroutine[Any, Any, None]] | None = None
        #: Cancels the task of an asynchronous view, and returns its frames.
        self.cancel: Callable[[], None] | None = None
        self.frames: Callable[[], traceback.StackSummary] | None = None
        self.name = "?"

    # The test.

    def begin(self, job: Job, seat: runners.Seat) -> None:
        """Take the view's call and its thread; :meth:`start` runs it."""
        self.connection = job.connection
        self.name = name_of(job.call.view)
        job.call.observer = self._note_error
        turn = Turn(*job)
        turn.view = self
        if job.call.decides:
            # The test's thread waits for the answer, so the view has the turn.
            call: Any = job.call
            call.on_open = self.aenter if call.asynchronous else self.enter_with
            self.connection = None
            self.deciding = True
            seat.run(turn)
            return
        self._waiting = seat, turn
        self._begun = True

    def meet(self, connection: _engine.Connection) -> None:
        """Note that the WebSocket is open."""
        self.connection = connection
        self._begun = self._begun or self.deciding

    def start(self) -> None:
        """Let the thread run the view, which begins with its first turn."""
        if self._waiting is not None:
            (seat, turn), self._waiting = self._waiting, None
            seat.run(turn)

    @property
    def has_begun(self) -> bool:
        """Whether the WebSocket was opened."""
        return self._begun

    def is_mine(self) -> bool:
        """Return whether the calling thread is the view's."""
        return self._thread is threading.current_thread()

    def rests(self) -> bool:
        """Return whether the view has ended, or waits with nothing to take."""
        if self.ended:
            return True
        connection = self.connection
        return (
            self._has_rested
            and not (self.running or self.left)
            and self._taken >= self.sent
            and not (connection is not None and connection.ended)
        )

    def worked(self) -> bool:
        """Return whether the view's thread has computed much since the last call.

        A view that sleeps most of the time does not work. The share is small, because
        on a busy machine a view gets little of the processor.
        """
        thread = self._thread
        if thread is None or thread.ident is None:
            return False
        # The thread is alive: it needs the lock, which the caller holds, to end.
        spent = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        if self.wrap is not None:
            spent += _spent_by_calls()
        now = time.monotonic()
        (then, before), self._worked = self._worked, (now, spent)
        return spent - before > _SHARE * (now - then)

    def is_heard(self) -> bool:
        """Return whether all that was sent to the client is on its way."""
        connection = self.connection
        if connection is None or connection.ended:
            return True
        return not connection.stats["outbox_messages"]

    def in_transaction(self) -> bool:
        """Return whether the view has entered ``atomic()`` on a shared connection."""
        return any(
            now > before
            for now, before in zip(self._depths(), self._depth, strict=False)
        )

    def _depths(self) -> list[int]:
        return [
            len(connection.savepoint_ids) + connection.in_atomic_block
            for connection in self.borrowed
        ]

    def stack(self) -> str:
        """Return where the view is, as lines of a traceback."""
        if self.frames is not None:
            return "".join(traceback.format_list(self.frames()))
        thread = self._thread
        frame = None
        if thread is not None and thread.ident is not None:
            frame = sys._current_frames().get(thread.ident)
        if frame is None:
            return ""
        lines = traceback.StackSummary.extract(traceback.walk_stack(frame))
        # From the innermost frame out: neither the turns nor what has called the view.
        inner = itertools.dropwhile(lambda line: line.filename in _TURNS, lines)
        found = list(itertools.takewhile(lambda line: line.filename != _CALL, inner))
        return "".join(traceback.format_list(found[::-1]))

    def abandon(self, end: bool = True) -> None:
        """Let the view run on without the test.

        Args:
            end: Try to end the view, by :exc:`PeerGone` at its next step. On
                CPython 3.11, a view that is traced runs on.
        """
        if self._waiting is not None:
            (seat, _), self._waiting = self._waiting, None
            seat.cancel()
            self.ended = True
        with self.stage.changed:
            self.free = True
            self.stage.poke()
            thread = self._thread
            if not end or self.ended:
                return
            if self.cancel is not None:
                self.cancel()
            elif thread is not None and _may_interrupt():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident or 0), ctypes.py_object(PeerGone)
                )

    # The view's thread.

    def run(self, run: Callable[[], None]) -> None:
        """Run the view's call when it is its turn."""
        self.enter_thread()
        try:
            if not self.deciding:
                self.stage.enter(self)
            run()
        finally:
            try:
                self.end()
            except PeerGone:  # the test has ended the view in this very moment
                self.end()

    def enter_thread(self) -> None:
        """Note that the calling thread runs the view."""
        self._thread = threading.current_thread()

    def end(self) -> None:
        """Note that the view has ended."""
        with self.stage.changed:
            self._thread = None
            self.cancel = self.frames = None
            self.ended = True
            self.running = False
            self.stage.poke()

    def _note_error(self, error: BaseException, refused: bool) -> None:
        if self.error is None:
            self.error, self.refused = error, refused

    def take(self, message: str | bytes | None) -> str | bytes | None:
        """Count a message that the view has got."""
        if message is not None:
            with self.stage.changed:
                self._taken += 1
        return message

    def rest(self, glance: bool = False) -> None:
        """Give the turn back."""
        self._has_rested = True
        self.stage.rest(self, glance)

    def enter(self) -> None:
        """Wait for the turn."""
        self.stage.enter(self)
        self._depth = self._depths()

    def enter_with(self, connection: _engine.Connection) -> None:
        """Wait for the first turn, after ``accept()``."""
        self.deciding = False
        self.enter()

    async def aenter(self, connection: _engine.Connection) -> None:
        """Do what :meth:`enter_with` does, without blocking the loop of all views."""
        self.deciding = False
        await asyncio.get_running_loop().run_in_executor(None, self.enter)


class Turn(Job):
    """A view's call that waits for its turn."""

    view: View

    def is_alone(self) -> bool:
        """Return True: the view takes turns with the test."""
        return True

    def run(self) -> None:
        """Run the call in the view's thread."""
        self.view.run(super().run)

    def coroutine(self, run: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """Return what the task of an asynchronous view runs."""
        wrap = self.view.wrap
        return run if wrap is None else wrap(self, run)


class Port:
    """Receives for a view, in turns with the test.

    Args:
        view: The view.
        connection: The engine's connection.
    """

    __slots__ = ("_connection", "_opened_in", "_view")

    def __init__(self, view: View, connection: _engine.Connection) -> None:
        self._view = view
        self._connection = connection
        self._opened_in = threading.get_ident()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Receive a message as the engine's ``receive`` does, when it is its turn."""
        view, connection = self._view, self._connection
        if not view.is_mine():
            self._check_thread(timeout)
            return view.take(connection.receive(timeout))
        if connection.ended and not connection.pending:
            return view.take(connection.receive(0))
        if timeout == 0:
            view.rest(glance=not connection.pending)
            view.enter()
            return view.take(connection.receive(0))
        view.rest()
        # Until it is the view's turn, a message is neither here nor there: it counts as
        # not taken, so that the test waits.
        message = connection.receive(timeout)
        view.enter()
        return view.take(message)

    def _check_thread(self, timeout: float | None) -> None:
        if timeout != 0 and threading.get_ident() == self._opened_in:
            raise ConfigurationError(_INLINE)

    def offer(self, message: Any, binary: bool | None, overflow: str) -> bool:
        """Send as the engine's ``send`` does."""
        return self._connection.send(message, binary, overflow)

    def send(
        self, message: Any, binary: bool | None, overflow: str, timeout: float | None
    ) -> bool:
        """Send as the engine's ``send`` does with "block" or "auto"."""
        return self._connection.send(message, binary, overflow, timeout)

    def is_served(self) -> bool:
        """Return whether the calling thread serves only this connection."""
        return self._connection.is_served()

    def runs_view(self) -> bool:
        """Return False: a view is known by its thread."""
        return False

    def turns(self) -> int:
        """Return how often the calling thread has switched between connections."""
        return _engine.turns()


class Seat:
    """A thread as in production, which waits for the view's first turn.

    Args:
        view: The view.
        seat: The thread.
    """

    def __init__(self, view: View, seat: runners.Seat) -> None:
        self._view = view
        self._seat: runners.Seat | None = seat

    def run(self, job: Job) -> None:
        """Take the call; it runs when the test gives its turn."""
        seat, self._seat = self._seat, None
        if seat is not None:
            self._view.begin(job, seat)

    def cancel(self) -> None:
        """Give the thread back, unless it has a call; idempotent."""
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.cancel()


class Runner:
    """The runner (see :class:`dwebsocket.runners.Runner`) of one view of a test.

    Args:
        view: The view.
    """

    place = "thread"

    def __init__(self, view: View) -> None:
        self._view = view

    def event_loop(self) -> None:
        """Return None: the view blocks its thread."""

    def port(self, connection: _engine.Connection) -> Port:
        """Return the port of the connection."""
        self._view.meet(connection)
        return Port(self._view, connection)

    def reserve(self) -> Seat:
        """Return the view's place.

        Raises:
            RuntimeError: The system has no thread left.
        """
        return Seat(self._view, threads.runner.reserve())

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        return threads.runner.join(timeout)

    def running(self) -> list[Job]:
        """Return the views that run."""
        return threads.runner.running()

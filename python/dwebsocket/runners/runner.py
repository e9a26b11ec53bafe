"""Chooses the runner of views: threads or, under gevent, greenlets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from dwebsocket import _engine
from dwebsocket.process import exit
from dwebsocket.process.gevent import is_patched
from dwebsocket.websocket.port import Port

from . import threads
from .call import Call, Job

__all__ = ("Runner", "Seat", "join", "kind", "of", "of_tasks", "running")


class Seat(Protocol):
    """The place of one view, reserved before the handshake is answered."""

    def run(self, job: Job) -> None:
        """Start the call, and return at once."""

    def cancel(self) -> None:
        """Give the seat back, unless it runs a call; idempotent."""


class Runner(Protocol):
    """Runs each view outside the server's threads, which answer requests."""

    #: In what a view runs, for the monitor.
    place: str

    def event_loop(
        self,
    ) -> _engine.EventLoop | _engine.TaskLoop | _engine.HandlerPool | None:
        """Return the loop in which views wait; None: they block their threads."""

    def port(
        self, connection: _engine.Connection
    ) -> Port | Callable[[str, float | None], Any] | None:
        """Return the port of a connection; None: its WebSocket blocks the thread.

        For a view that is a task, return what makes the port.
        """

    def reserve(self) -> Seat:
        """Return a seat for one view.

        Raises:
            RuntimeError: The system has no thread left.
            OSError: The system has no descriptor left.
        """

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""

    def running(self) -> list[Job]:
        """Return the views that run."""


#: The runners that may have run a view.
_runners: list[Runner] = [threads.runner]


def kind() -> Runner:
    """Return the runner: greenlets where gevent has patched threads."""
    if not is_patched():
        return threads.runner
    # Imported late, as the module imports gevent.
    from . import greenlets

    if greenlets.runner not in _runners:
        _runners.append(greenlets.runner)
    return greenlets.runner


def of_tasks() -> Runner:
    """Return the runner of asynchronous views, the same on every server."""
    # Imported late: most sites have no such view.
    from . import tasks

    if tasks.runner not in _runners:
        _runners.append(tasks.runner)
    return tasks.runner


def of_handlers() -> Runner:
    """Return the runner of handler classes."""
    if is_patched():
        return kind()
    # Imported late: most sites have no such class.
    from . import pool

    if pool.runner not in _runners:
        _runners.append(pool.runner)
    return pool.runner


def of(call: Call) -> Runner:
    """Return the runner of a view's call."""
    if call.asynchronous:
        return of_tasks()
    return of_handlers() if call.handles else kind()


def join(timeout: float) -> bool:
    """Wait until every view has ended; return whether that was within the time."""
    deadline = time.monotonic() + timeout
    ended = [runner.join(max(deadline - time.monotonic(), 0.0)) for runner in _runners]
    return all(ended)


def running() -> list[str]:
    """Return the paths and visitors of the views that run."""
    return [job.shown() for runner in _runners for job in runner.running()]


exit.let_end(join, running)

"""Runs each asynchronous view as a task of the process's event loop.

Imported only where there are such views.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from typing import Any

from dwebsocket import _engine
from dwebsocket.process import capacity, exit, fork

from .acall import run
from .call import GOING_AWAY, Job, give_up
from .looping import Loop

__all__ = ("runner",)

#: Seconds in which the loop must have stopped.
_STOP = 2.0


class Seat:
    """A seat (see :class:`.runner.Seat`) that starts a task for its call.

    Args:
        tasks: The runner.
    """

    __slots__ = ("_tasks",)

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def run(self, job: Job) -> None:
        """Run the call in a new task.

        Raises:
            RuntimeError: The loop has ended.
        """
        self._tasks.start(job)

    def cancel(self) -> None:
        """Do nothing: no task waits."""


class Tasks:
    """Runs each view as a task."""

    place = "task"

    def __init__(self) -> None:
        self._lock = fork.Lock()
        #: Loops of parents of this process. They are kept, because the kernel's side of
        #: a loop is shared with the parent, and freeing the loop would change it.
        self._foreign: list[object] = []
        self._loop: Loop | None = None
        #: The views that run, and their tasks (None: not yet), by the ids of their
        #: connections.
        self._running: dict[int, tuple[Job, asyncio.Task[None] | None]] = {}

    def forget(self) -> None:
        """Reset the state: a forked child has none of its parent's threads."""
        self._foreign += [self._loop, self._running]
        self._loop = None
        self._running = {}

    def event_loop(self) -> _engine.TaskLoop:
        """Return the engine's loop, in which the views are tasks.

        Raises:
            RuntimeError: The system has no thread left.
            OSError: The system has no descriptor left.
        """
        loop = self._loop
        if loop is None:
            with self._lock:
                loop = self._loop
                if loop is None:
                    loop = self._loop = Loop()
        return loop.engine

    def port(
        self, connection: _engine.Connection
    ) -> Callable[[str, float | None], _engine.TaskPort]:
        """Return what makes the port: the WebSocket knows its options."""
        return functools.partial(_engine.TaskPort, connection, self.event_loop())

    def reserve(self) -> Seat:
        """Return a seat; there is always room for one more task.

        Raises:
            RuntimeError, OSError: As :meth:`event_loop` does.
        """
        self.event_loop()
        return Seat(self)

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the event loop, later; from any thread.

        Raises:
            RuntimeError: The loop has ended.
        """
        self._present().call(function, *args)

    def _present(self) -> Loop:
        loop = self._loop
        if loop is None:
            raise RuntimeError("the event loop of the views has ended")
        return loop

    def start(self, job: Job) -> None:
        """Run the call in a task.

        Raises:
            RuntimeError: The loop has ended.
        """
        loop = self._present()
        self._running[job.connection.id] = job, None
        try:
            start = self._start if job.is_alone() else self._handle
            loop.call(start, loop, job)
        except BaseException:
            self._running.pop(job.connection.id, None)
            raise

    def _start(self, loop: Loop, job: Job) -> None:
        number = job.connection.id
        # The task gets a copy of this context.
        coroutine = job.coroutine(run(job))
        task = job.context.variables.run(loop.asyncio.create_task, coroutine)
        task.set_name(f"websocket-{number}")
        self._running[number] = job, task

        def ended(task: asyncio.Task[None]) -> None:
            self._running.pop(number, None)
            # A task that was cancelled before it began has closed nothing.
            job.connection.close(GOING_AWAY, "")

        task.add_done_callback(ended)

    def _handle(self, loop: Loop, job: Job) -> None:
        """Call handlers whenever there is something for them."""
        # Imported late: most sites have no such class.
        from . import ahandlers

        number = job.connection.id

        def ended() -> None:
            self._running.pop(number, None)

        try:
            ahandlers.Tasks(job, loop.asyncio, loop.engine, ended)
        except BaseException:
            give_up(job.connection, job.call.request)
            ended()

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        return exit.wait_until(lambda: not self._running, timeout)

    def running(self) -> list[Job]:
        """Return the views that run."""
        return [job for job, _task in list(self._running.values())]

    def count(self) -> int:
        """Return how many views run."""
        return len(self._running)

    def stop(self) -> None:
        """Cancel the views that still run, and end the loop and its thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        for job in self.running():
            call: Any = job.call
            call.stop()
        loop.stop(_STOP)


runner = Tasks()
exit.clear_up(runner.stop)
capacity.count_tasks(runner.count)
os.register_at_fork(after_in_child=runner.forget)

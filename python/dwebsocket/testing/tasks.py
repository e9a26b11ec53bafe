"""Runs the asynchronous views of a test: each as a task, in turns with the test."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from dwebsocket import _engine
from dwebsocket.runners import Job, tasks

from .views import Seat, Turn, View

__all__ = ("TaskRunner",)


async def in_turns(turn: Turn, run: Coroutine[Any, Any, None]) -> None:
    """Run a view's coroutine when it is the view's turn."""
    view, call = turn.view, turn.call
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is None:
        raise RuntimeError("a view is a task")

    def cancel() -> None:
        stopping: Any = call
        stopping.stop()
        loop.call_soon_threadsafe(task.cancel)

    def frames() -> traceback.StackSummary:
        return traceback.StackSummary.extract(
            (frame, frame.f_lineno) for frame in _frames(task)
        )

    view.cancel, view.frames = cancel, frames
    view.enter_thread()
    try:
        if not view.deciding:
            await _turn(view)
        await run
    finally:
        run.close()
        view.end()


def _frames(task: Any) -> list[FrameType]:
    """Return where a task is, and the task that it waits for."""
    found: list[FrameType] = []
    while isinstance(task, asyncio.Task):
        coroutine: Any = task.get_coro()
        while (frame := getattr(coroutine, "cr_frame", None)) is not None:
            found.append(frame)
            coroutine = coroutine.cr_await
        task = getattr(task, "_fut_waiter", None)
    return found


async def _turn(view: View) -> None:
    """Wait for a view's turn, without blocking the loop of all views."""
    await asyncio.get_running_loop().run_in_executor(None, view.enter)


class TaskPort:
    """Receives and sends for the tasks of a view, in turns with the test.

    Args:
        view: The view.
        connection: The engine's connection.
        port: The engine's port.
    """

    def __init__(
        self, view: View, connection: _engine.Connection, port: _engine.TaskPort
    ) -> None:
        self._view = view
        self._connection = connection
        self._port = port
        #: A message that was taken for a task that was cancelled then.
        self._kept: Any = None
        self.offer = port.offer
        self.send = port.send
        self.at_end = port.at_end
        self.forget_end = port.forget_end

    def wait(self, owner: Any, timeout: float | None = None) -> Any:
        """Receive as the engine's port does, when it is the view's turn."""
        return self._take(self._port.wait, owner, timeout)

    def receive(self, owner: Any, timeout: float | None = None) -> Any:
        """Receive as the engine's port does, when it is the view's turn."""
        return self._take(self._port.receive, owner, timeout)

    async def _take(
        self, receive: Callable[..., Any], owner: Any, timeout: float | None
    ) -> Any:
        view, connection = self._view, self._connection
        if connection.ended and not connection.pending and self._kept is None:
            return view.take(await receive(owner, timeout))
        view.rest()
        try:
            if self._kept is None:
                self._kept = await receive(owner, timeout)
        finally:
            # Until it is the view's turn, a message counts as not taken.
            await _turn(view)
        message, self._kept = self._kept, None
        taken: Any = view.take(message)
        return taken


class TaskRunner:
    """The runner (see :class:`dwebsocket.runners.Runner`) of one view of a test.

    Args:
        view: The view.
    """

    place = "task"

    def __init__(self, view: View) -> None:
        self._view = view

    def event_loop(self) -> _engine.TaskLoop:
        """Return the loop of all asynchronous views."""
        return tasks.runner.event_loop()

    def port(self, connection: _engine.Connection) -> Callable[..., Any]:
        """Return what makes the port of a connection."""
        self._view.meet(connection)
        make = tasks.runner.port(connection)

        def made(overflow: str, timeout: float | None) -> TaskPort:
            return TaskPort(self._view, connection, make(overflow, timeout))

        return made

    def reserve(self) -> Seat:
        """Return the view's place."""
        self._view.wrap = in_turns
        return Seat(self._view, tasks.runner.reserve())

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        return tasks.runner.join(timeout)

    def running(self) -> list[Job]:
        """Return the views that run."""
        return tasks.runner.running()

"""The event loop of all asynchronous views of the process, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Any

from dwebsocket import _engine
from dwebsocket.process import gevent, native
from dwebsocket.signals import websocket_message

from . import calls
from .executor import DefaultExecutor

__all__ = ("Loop",)

logger = logging.getLogger("dwebsocket.view")

#: Seconds that cancelled tasks have to end.
PATIENCE = 1.0
#: Threads that wait for synchronous calls, as long as there is a loop. The end of the
#: process needs one (see :class:`.calls.Pool`), and nothing tells before it is too late
#: that the process will end. A loop is the first sign that there may be such calls: so
#: each process with asynchronous views has this thread, and no other process has it.
SPARE = 1 if sys.version_info >= (3, 12) else 0


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop's if that is installed, else of asyncio's."""
    try:
        import uvloop
    except ImportError:
        pass
    else:
        found: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return found
    if gevent.is_patched():
        # gevent's own selector belongs to a hub.
        selector = native.original("selectors", "EpollSelector")
        return asyncio.SelectorEventLoop(selector())
    return asyncio.new_event_loop()


class Loop:
    """A running loop.

    Raises:
        RuntimeError: The system has no thread left.
        OSError: The system has no descriptor left.
    """

    asyncio: asyncio.AbstractEventLoop
    #: The engine's view of the loop.
    engine: _engine.TaskLoop

    def __init__(self) -> None:
        self._started, self._ended = native.allocate_lock(), native.allocate_lock()
        self._started.acquire()
        self._ended.acquire()
        self._failure: BaseException | None = None
        #: Whether the loop is to end.
        self._over = False
        native.start_thread(self._run, "websocket-loop")
        self._started.acquire()
        if self._failure is not None:
            raise self._failure

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the loop.

        Raises:
            RuntimeError: The loop has ended.
        """
        self.asyncio.call_soon_threadsafe(function, *args)

    def _run(self) -> None:
        try:
            self._begin()
        except BaseException as error:
            self._failure = error
            self._started.release()
            return
        self._started.release()
        try:
            while not self._over:
                self._go_on()
        finally:
            calls.keep(-SPARE)
            self._end()
            self._ended.release()

    def _go_on(self) -> None:
        """Run the loop until it is over, or until a task ends the loop."""
        try:
            self.asyncio.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # asyncio lets a task end its loop so. But all views share this loop.
            logger.exception(
                "A task of the event loop of the views has ended with this"
            )

    def _begin(self) -> None:
        self.asyncio = _new_loop()
        try:
            self.engine = _engine.TaskLoop(self.asyncio, websocket_message)
        except BaseException:
            self.asyncio.close()
            raise
        self.asyncio.set_default_executor(DefaultExecutor(self.asyncio))
        for descriptor in self.engine.filenos():
            self.asyncio.add_reader(descriptor, self.engine.attend)
        calls.keep(SPARE)

    def _end(self) -> None:
        for descriptor in self.engine.filenos():
            self.asyncio.remove_reader(descriptor)
        self.engine.close()
        with contextlib.suppress(Exception):
            self.asyncio.close()

    def stop(self, timeout: float) -> bool:
        """Cancel all tasks and end the thread; return whether that was in time."""
        try:
            self.call(self._wind_up)
        except RuntimeError:
            return True
        return bool(self._ended.acquire(timeout=timeout))

    def _wind_up(self) -> None:
        task = self.asyncio.create_task(self._cancel_all())
        task.add_done_callback(self._finish)

    def _finish(self, _task: Any) -> None:
        self._over = True
        self.asyncio.stop()

    async def _cancel_all(self) -> None:
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not me]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)
        await self.asyncio.shutdown_asyncgens()

"""Runs each view in a thread of its own.

The server's thread goes on answering requests meanwhile.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.process.trim import Crowd

from .call import Job

__all__ = ("runner",)

#: Held while the stack size of new threads, a process-wide setting, is a view's.
_stack_lock = threading.RLock()


class Seat:
    """A thread that waits for its view; it is started before the 101 is sent.

    Args:
        threads: The runner.
    """

    __slots__ = ("_box", "_called", "_thread", "_threads")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._thread: threading.Thread | None = None
        # A bare lock is cheaper than an Event, and a forked child may release it.
        self._called = threading.Lock()
        self._called.acquire()
        #: The lock, then also the job. The thread takes the lock, then the job if any.
        self._box: list[Any] = [self._called]

    def begin(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system has no thread left.
        """
        self._thread = threading.Thread(
            # A method of this seat would keep the seat, and so the thread, alive.
            target=self._threads.wait,
            args=(self._box,),
            name="websocket-waiting",
            daemon=True,
        )
        _start_small(self._thread, settings.THREAD_STACK_SIZE)

    def run(self, job: Job) -> None:
        """Have the thread run the call.

        Raises:
            RuntimeError: The thread has ended already: by a MemoryError, or by an
                error of a debugger or profiler, whose code runs in each thread.
        """
        if self._thread is None or not self._thread.is_alive():
            raise RuntimeError("the thread that waited for the view has ended")
        self._box.append(job)
        try:
            self._threads.enter(job.connection)
        except BaseException:
            self._box.pop()
            raise
        self._called.release()

    def cancel(self) -> None:
        """Let the thread end, unless it runs a call; idempotent."""
        if self._called.locked():
            self._called.release()

    __del__ = cancel


class Threads:
    """Runs each view in a daemon thread with a stack of its own size."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state: a forked child has none of its parent's threads."""
        self._changed = threading.Condition(threading.Lock())
        self._running: set[int] = set()
        self._crowd = Crowd()

    def wake_queue(self) -> None:
        """Return None: a thread waits by blocking."""
        return None

    def port(self, connection: _engine.Connection) -> None:
        """Return None: a thread waits by blocking."""
        return None

    def reserve(self) -> Seat:
        """Return a thread that waits for its call.

        Raises:
            RuntimeError: The system has no thread left.
        """
        seat = Seat(self)
        seat.begin()
        return seat

    def wait(self, box: list[Any]) -> None:
        """Wait for the call of a seat, and run it; the target of the seat's thread."""
        _engine.settle_stack()
        box.pop(0).acquire()
        if not box:
            return
        job: Job = box.pop()
        threading.current_thread().name = f"websocket-{job.connection.id}"
        try:
            job.run()
        finally:
            self._done(job.connection)

    def enter(self, connection: _engine.Connection) -> None:
        """Note that a view begins."""
        with self._changed:
            self._running.add(connection.id)

    def _done(self, connection: _engine.Connection) -> None:
        with self._changed:
            before = len(self._running)
            # In the child of a view that has forked, the id is not in the set.
            self._running.discard(connection.id)
            running = len(self._running)
            if not running:
                self._changed.notify_all()
        self._crowd.left(running, before)

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)


def _start_small(thread: threading.Thread, stack: int) -> None:
    """Start a thread with a stack of its own size; the setting is process-wide."""
    if not stack:
        thread.start()
        return
    with _stack_lock:
        previous = threading.stack_size(stack)
        try:
            thread.start()
        finally:
            threading.stack_size(previous)


runner = Threads()


def _after_fork_in_child() -> None:
    _stack_lock.release()
    runner.forget()


# Otherwise the child could get a lock that is never released, or a small default stack.
os.register_at_fork(
    before=_stack_lock.acquire,
    after_in_parent=_stack_lock.release,
    after_in_child=_after_fork_in_child,
)

"""Runs each view in a thread of its own.

The server's threads go on answering requests meanwhile. When a view ends, its thread is
kept for a moment: for a site with many short connections, to start a thread costs more
than the rest of a handshake.
"""

from __future__ import annotations

import asyncio
import os
import threading

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.process import capacity, databases
from dwebsocket.process.trim import Crowd

from .call import Job

__all__ = ("runner", "start_small")

#: Seconds that a thread whose view has ended waits for another view.
KEEP = 1.0
#: How many threads wait so at most.
MOST = 256

#: Names of threads that a handshake has reserved, and of those that are kept.
_RESERVED, _KEPT = "websocket-waiting", "websocket-kept"

#: Held while the stack size of new threads, a process-wide setting, is a view's.
_stack_lock = threading.RLock()


class Worker:
    """A thread that runs one view after the other.

    Args:
        threads: The runner.
        stack: The size of its stack, in bytes; 0: the default.
    """

    __slots__ = ("_called", "_job", "_threads", "stack", "thread")

    def __init__(self, threads: Threads, stack: int) -> None:
        self._threads = threads
        self.stack = stack
        # A bare lock is cheaper than an Event, and a forked child may release it.
        self._called = threading.Lock()
        self._called.acquire()
        #: What the thread does when it gets the lock: run this, or (None) end.
        self._job: Job | None = None
        self.thread = threading.Thread(target=self._run, name=_RESERVED, daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system has no thread left.
        """
        start_small(self.thread, self.stack)

    def call(self, job: Job | None) -> None:
        """Have the thread run a view's call; None: have it end."""
        self._job = job
        self._called.release()

    def _run(self) -> None:
        _engine.settle_thread()
        self._called.acquire()
        while self._job is not None:
            job, self._job = self._job, None
            again = self._threads.run(self.thread, job)
            # The request and the WebSocket belong to nobody while this thread waits.
            del job
            if not (again and self._threads.park(self)):
                return
            if not self._called.acquire(timeout=KEEP):
                if self._threads.unpark(self):
                    return
                # A seat has taken this worker at the last moment.
                self._called.acquire()


class Seat:
    """A thread that waits for its view; it is started before the 101 is sent.

    Args:
        threads: The runner.
        worker: The thread.
    """

    __slots__ = ("_threads", "_worker")

    def __init__(self, threads: Threads, worker: Worker) -> None:
        self._threads = threads
        self._worker: Worker | None = worker

    def run(self, job: Job) -> None:
        """Have the thread run the call.

        Raises:
            RuntimeError: The thread has ended already: by a MemoryError, or by an
                error of a debugger or profiler, whose code runs in each thread.
        """
        worker = self._worker
        if worker is None or not worker.thread.is_alive():
            raise RuntimeError("the thread that waited for the view has ended")
        self._threads.enter(job)
        self._worker = None
        worker.call(job)

    def cancel(self) -> None:
        """Let the thread end, unless it runs a call; idempotent."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.call(None)

    __del__ = cancel


class Threads:
    """Runs each view in a daemon thread with a stack of its own size."""

    place = "thread"

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state: a forked child has none of its parent's threads."""
        self._changed = threading.Condition(threading.Lock())
        #: The views that run, by the ids of their connections.
        self._running: dict[int, Job] = {}
        #: Threads without a view. Each call of a list's method is atomic.
        self._parked: list[Worker] = []
        self._crowd = Crowd()

    def event_loop(self) -> None:
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
        stack = settings.THREAD_STACK_SIZE
        while True:
            try:
                worker = self._parked.pop()
            except IndexError:
                break
            if worker.stack == stack and worker.thread.is_alive():
                worker.thread.name = _RESERVED
                return Seat(self, worker)
            worker.call(None)
        worker = Worker(self, stack)
        worker.start()
        return Seat(self, worker)

    def run(self, thread: threading.Thread, job: Job) -> bool:
        """Run a view's call in its thread; return whether the thread may run another.

        A project with context hooks has state of its own in threads: its threads end.
        """
        thread.name = f"websocket-{job.connection.id}"
        try:
            job.run()
        finally:
            ours = self._done(job.connection)
        if not ours or job.call.carried:
            return False
        try:
            databases.forget()
        except Exception:
            # A connection that cannot be closed goes with its thread.
            return False
        _engine.forget_sends()
        # The view may have closed the loop that it has set.
        asyncio.set_event_loop(None)
        thread.name = _KEPT
        return True

    def park(self, worker: Worker) -> bool:
        """Keep a worker for the next view; return whether there is room for it."""
        if len(self._parked) >= MOST:
            return False
        self._parked.append(worker)
        return True

    def unpark(self, worker: Worker) -> bool:
        """Keep a worker no longer; return False if a seat has taken it."""
        try:
            self._parked.remove(worker)
        except ValueError:
            return False
        return True

    def spare(self) -> int:
        """Return how many threads wait for a view."""
        return len(self._parked)

    def enter(self, job: Job) -> None:
        """Note that a view begins."""
        with self._changed:
            self._running[job.connection.id] = job

    def _done(self, connection: _engine.Connection) -> bool:
        """Take note that a view has ended; False if it has forked, in the child."""
        with self._changed:
            before = len(self._running)
            ours = connection.id in self._running
            self._running.pop(connection.id, None)
            running = len(self._running)
            if not running:
                self._changed.notify_all()
        self._crowd.left(running, before)
        return ours

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def running(self) -> list[Job]:
        """Return the views that run."""
        with self._changed:
            return list(self._running.values())


def start_small(thread: threading.Thread, stack: int) -> None:
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
capacity.count_spare(runner.spare)


def _after_fork_in_child() -> None:
    _stack_lock.release()
    runner.forget()


# Otherwise the child could get a lock that is never released, or a small default stack.
os.register_at_fork(
    before=_stack_lock.acquire,
    after_in_parent=_stack_lock.release,
    after_in_child=_after_fork_in_child,
)

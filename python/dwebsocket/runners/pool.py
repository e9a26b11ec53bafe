"""Calls the handlers of all connections in a few threads.

While nothing arrives, a connection has no thread: one thread waits for the sockets of
all of them, reads what is ready, and calls the handlers (see the engine's ``crew``).

Imported only where there are handler classes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.process import capacity, databases, exit, fork
from dwebsocket.process.trim import Crowd

from .call import Job
from .handlers import prepared
from .threads import start_small

__all__ = ("runner",)


class Port:
    """Receives and sends for one connection, from any thread.

    Args:
        connection: The engine's connection.
    """

    __slots__ = ("_connection", "offer", "receive")

    #: The engine's own ``receive`` and ``send``.
    receive: Callable[[float | None], Any]
    offer: Callable[[Any, bool | None, str], bool]

    def __init__(self, connection: _engine.Connection) -> None:
        self._connection = connection
        self.receive = connection.receive
        self.offer = connection.send

    def send(
        self, message: Any, binary: bool | None, overflow: str, timeout: float | None
    ) -> bool:
        """Send as the engine's ``send`` does with "block" or "auto".

        If half of the threads wait for room already, a handler does not wait: peers
        that read nothing would stop the handlers of all others. The engine counts.
        """
        return self._connection.send(message, binary, overflow, timeout)

    def is_served(self) -> bool:
        """Return whether this thread may wait for room: for one peer, not for many."""
        connection = self._connection
        return _engine.handles(connection.id) or connection.is_served()

    def runs_view(self) -> bool:
        """Return whether this thread runs a handler of this connection."""
        return _engine.handles(self._connection.id)

    def turns(self) -> int:
        """Return how often this thread has switched between connections."""
        return _engine.turns()


class Seat:
    """A seat (see :class:`.runner.Seat`): a connection's place in the pool.

    Args:
        pool: The runner.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def run(self, job: Job) -> None:
        """Have the pool call the handlers of the connection."""
        self._pool.start(job)

    def cancel(self) -> None:
        """Do nothing: no thread waits."""


class Pool:
    """Calls handlers in at most ``HANDLER_THREADS`` threads."""

    place = "handler"

    def __init__(self) -> None:
        self._lock = fork.Lock()
        #: Pools of parents of this process. They are kept, because the kernel's side of
        #: a pool is shared with the parent, and freeing it would change that.
        self._foreign: list[object] = []
        self._forget()

    def forget(self) -> None:
        """Reset the state: a forked child has none of its parent's threads."""
        self._foreign += [self._pool, self._running]
        self._forget()

    def _forget(self) -> None:
        self._pool: _engine.HandlerPool | None = None
        self._changed = threading.Condition(threading.Lock())
        #: The connections, by their ids.
        self._running: dict[int, Job] = {}
        self._crowd = Crowd()

    def event_loop(self) -> _engine.HandlerPool:
        """Return the engine's pool, which reads the sockets.

        Raises:
            RuntimeError: The system has no thread left.
            OSError: The system has no descriptor left.
        """
        pool = self._pool
        if pool is None:
            with self._lock:
                pool = self._pool
                if pool is None:
                    _follow_databases()
                    pool = _engine.HandlerPool(self._spawn, settings.HANDLER_THREADS)
                    self._pool = pool
        pool.start()
        return pool

    def _spawn(self) -> None:
        """Start one more thread.

        Raises:
            RuntimeError: The system has no thread left.
        """
        thread = threading.Thread(
            target=self._serve, args=(self._pool,), name="websocket-pool", daemon=True
        )
        start_small(thread, settings.THREAD_STACK_SIZE)

    def _serve(self, pool: _engine.HandlerPool) -> None:
        _engine.settle_thread()
        try:
            pool.serve(databases.let_go)
        finally:
            databases.forget()

    def port(self, connection: _engine.Connection) -> Port:
        """Return the port of a connection."""
        return Port(connection)

    def reserve(self) -> Seat:
        """Return a seat; there is always room for one more connection.

        Raises:
            RuntimeError, OSError: As :meth:`event_loop` does.
        """
        self.event_loop()
        return Seat(self)

    def start(self, job: Job) -> None:
        """Have the pool call the handlers of a connection."""
        pool, number = self.event_loop(), job.connection.id
        call: Any = job.call
        call.ended = lambda: self._ended(number)
        handled = prepared(job)
        with self._changed:
            self._running[number] = job
        pool.add(handled)

    def _ended(self, number: int) -> None:
        with self._changed:
            before = len(self._running)
            self._running.pop(number, None)
            running = len(self._running)
            if not running:
                self._changed.notify_all()
        self._crowd.left(running, before)

    def join(self, timeout: float) -> bool:
        """Wait until every connection has ended; return whether that was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def running(self) -> list[Job]:
        """Return the connections that have not ended."""
        with self._changed:
            return list(self._running.values())

    def count(self) -> int:
        """Return how many connections there are."""
        return len(self._running)

    def stop(self) -> None:
        """End the threads."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


def _follow_databases() -> None:
    """Note in which threads of the pool a database connection is opened."""
    databases.at_use(_engine.note_database)


runner = Pool()
exit.clear_up(runner.stop)
capacity.count_tasks(runner.count)
os.register_at_fork(after_in_child=runner.forget)

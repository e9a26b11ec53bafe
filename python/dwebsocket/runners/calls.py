"""The synchronous calls of an asynchronous view, in a thread of its connection.

Django's ``sync_to_async`` runs the calls of one context one after the other, in one
thread, which has the database connections. Here each WebSocket is such a context, so
the calls of two WebSockets run side by side. A connection has a thread only as long as
it has calls or open database connections; then the thread serves another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
from _queue import Empty, SimpleQueue
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from dwebsocket import context as contexts
from dwebsocket.process import databases, native

__all__ = ("THREAD_NAME", "Call", "Calls", "Pool", "in_thread", "keep")

logger = logging.getLogger("dwebsocket.view")

#: Seconds that a thread without calls waits for others.
KEEP = 1.0
#: How many threads wait so at most.
MOST = 64
#: The name of these threads.
THREAD_NAME = "websocket-calls"

#: What a thread does when its view waits for a message, and when the view has ended.
_REST, _END = "rest", "end"
#: Has a thread look again at what it waits for.
_LOOK = "look"


class Worker:
    """What makes the calls of one connection after another, in a thread.

    Args:
        pool: The pool of its thread.
        calls: The calls of a connection; None: the worker waits for some.
    """

    __slots__ = ("_applied", "_calls", "_pool", "_queue")

    def __init__(self, pool: Pool, calls: Calls | None) -> None:
        self._pool = pool
        #: The connection's calls; None while the thread serves nobody.
        self._calls = calls
        #: What was applied for this connection in this thread.
        self._applied: contextlib.ExitStack | None = None
        self._queue: SimpleQueue[Any] = SimpleQueue()

    def start(self) -> None:
        """Start a thread for this worker.

        Raises:
            RuntimeError: The system has no thread left, or the interpreter ends.
        """
        native.start_thread(self._run, THREAD_NAME)

    def serve(self, calls: Calls) -> None:
        """Make the calls of a connection from now on."""
        self._calls = calls

    def put(self, work: Any) -> None:
        """Have the thread do something: a call, or a constant of this module."""
        self._queue.put(work)

    def _run(self) -> None:
        worker: Worker | None = self
        while worker is not None:
            worker = worker.go_on()

    def go_on(self) -> Worker | None:
        """Serve connections; return another worker for the thread, or None."""
        patience: float | None = None
        while True:
            calls = self._calls
            pause = self._pool.patience(self) if calls is None else patience
            try:
                work = self._queue.get(timeout=pause)
            except Empty:
                if calls is None:
                    if self._pool.unpark(self):
                        return None
                    continue
                databases.let_go(everything=True)
            else:
                self._do(work)
                del work
            patience = databases.KEEP
            if self._calls is not None and not self._release(self._calls):
                continue
            following = self._pool.park(self)
            if following is not self:
                return following

    def _do(self, work: Any) -> None:
        try:
            if work is _REST:
                databases.let_go()
            elif work is _END:
                self._clean()
            elif work is not _LOOK:
                work(self._prepare)
        except BaseException:
            # Without its thread, the connection would wait for its calls for ever.
            logger.exception("Error in a thread of synchronous calls")

    def _prepare(self) -> None:
        """Apply what belongs to the connection, before the first of its calls."""
        calls = self._calls
        if self._applied is not None or calls is None:
            return
        databases.share(calls.shared)
        applied = contextlib.ExitStack()
        if calls.carried:
            carried = contexts.applied(contexts.again(calls.carried))
            applied.enter_context(carried)
        self._applied = applied

    def _clean(self) -> None:
        applied, self._applied = self._applied, None
        if applied is not None:
            with contextlib.suppress(Exception):
                applied.close()
        databases.unshare()
        # A connection that cannot be closed is forgotten all the same.
        with contextlib.suppress(Exception):
            databases.forget()

    def _release(self, calls: Calls) -> bool:
        """Leave the connection if there is nothing to keep for it."""
        if self._pool.is_short() and self._queue.empty():
            # Others wait for a thread: they come before the next query of this one.
            databases.let_go(everything=True)
        if databases.held() or not calls.release(self._queue.empty):
            return False
        self._clean()
        self._calls = None
        return True


class Pool:
    """The threads of the workers.

    Since Python 3.12, no thread can be started once the interpreter ends. But only then
    are the connections closed in a WSGI process, and the ends of their views call
    synchronous code. So :meth:`keep` has threads wait for that, and a worker that
    cannot get a thread waits until one is free.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state: a forked child has none of its parent's threads."""
        self._lock = native.allocate_lock()
        #: Workers that serve nobody.
        self._parked: list[Worker] = []
        #: Workers that serve a connection, in a thread.
        self._busy: set[Worker] = set()
        #: Workers that have calls, but no thread.
        self._threadless: deque[Worker] = deque()
        #: How many threads wait at any time.
        self._spare = 0

    def keep(self, more: int) -> None:
        """Have so many more threads wait for calls, beside those that have some."""
        with self._lock:
            self._spare += more
            self._start_spare()
            for worker in self._parked:
                # A thread that has waited without a limit finds the new number.
                worker.put(_LOOK)

    def take(self, calls: Calls) -> Worker:
        """Return a worker for the calls of a connection.

        Raises:
            RuntimeError: The system has no thread left, and this pool has none.
        """
        with self._lock:
            if self._parked:
                worker = self._parked.pop()
                worker.serve(calls)
                self._busy.add(worker)
            else:
                worker = Worker(self, calls)
                self._threadless.append(worker)
                self._start_threadless()
            self._start_spare()
        return worker

    def _start_threadless(self) -> None:
        """Start a thread for each worker without one, as long as that is possible."""
        while self._threadless:
            worker = self._threadless[0]
            try:
                worker.start()
            except RuntimeError:
                if not self._busy:
                    self._threadless.pop()
                    raise
                for busy in self._busy:
                    # One that keeps a database connection only is to let go of it.
                    busy.put(_LOOK)
                return
            self._busy.add(self._threadless.popleft())

    def _start_spare(self) -> None:
        while len(self._parked) < self._spare:
            worker = Worker(self, None)
            try:
                worker.start()
            except RuntimeError:
                return
            self._parked.append(worker)

    def park(self, worker: Worker) -> Worker | None:
        """Return the worker that is to have the thread of one that serves nobody.

        It is another one that has no thread; or the same one, which then waits; or
        None: the thread is to end.
        """
        with self._lock:
            if worker in self._parked:
                return worker
            self._busy.discard(worker)
            if self._threadless:
                successor = self._threadless.popleft()
                self._busy.add(successor)
                return successor
            if len(self._parked) >= MOST:
                return None
            self._parked.append(worker)
            return worker

    def unpark(self, worker: Worker) -> bool:
        """Keep a thread no longer; return False if it is needed after all."""
        with self._lock:
            if worker not in self._parked or len(self._parked) <= self._spare:
                return False
            self._parked.remove(worker)
            return True

    def patience(self, worker: Worker) -> float | None:
        """Return the seconds that a parked worker waits; None: it waits on."""
        kept = worker in self._parked[: self._spare]
        return None if kept else KEEP

    def is_short(self) -> bool:
        """Return whether connections wait for a thread."""
        return bool(self._threadless)


_pool = Pool()
os.register_at_fork(after_in_child=_pool.forget)


def keep(more: int) -> None:
    """Have so many more threads wait for calls, beside those that have some."""
    _pool.keep(more)


class Call:
    """A call, and the future that gets its result.

    Args:
        loop: The loop of the future.
        function: What is called.
        arguments: Its arguments.
    """

    __slots__ = ("_arguments", "_function", "_future", "_loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
    ) -> None:
        self._loop = loop
        self._future: asyncio.Future[Any] = self._loop.create_future()
        self._function = function
        self._arguments = arguments

    @property
    def future(self) -> asyncio.Future[Any]:
        """The result, in the future."""
        return self._future

    def __call__(self, prepare: Callable[[], None]) -> None:
        """Make the call, in a thread.

        Args:
            prepare: Called before; its exceptions are those of the call.
        """
        if self._future.cancelled():
            return
        result, failure = None, None
        try:
            prepare()
            result = self._function(*self._arguments)
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(_settle, self._future, result, failure)


def _settle(
    future: asyncio.Future[Any], result: Any, failure: BaseException | None
) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
        return
    if isinstance(failure, StopIteration):
        # A future cannot raise it.
        failure = RuntimeError(f"a synchronous call has raised {failure!r}")
    future.set_exception(failure)


async def in_thread(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function as ``sync_to_async`` does; a cancellation comes after its end.

    A thread cannot be cancelled, and what follows must not run beside it.
    """
    left: list[contextvars.Context] = []

    async def call() -> Any:
        try:
            return await sync_to_async(function)(*args, **kwargs)
        finally:
            left.append(contextvars.copy_context())

    running = asyncio.ensure_future(call())
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            # Its own exception says more.
            running.result()
        raise
    finally:
        for context in left:
            _adopt(context)


def _adopt(context: contextvars.Context) -> None:
    """Take over what a call has changed in its copy of the context."""
    nothing = object()
    for variable, value in context.items():
        if variable.get(nothing) is not value:
            variable.set(value)


def _only_closes(function: Any) -> bool:
    """Return whether a call of ``sync_to_async`` is ``close_old_connections()``.

    Channels makes this call before each message, and a WebSocket without a thread has
    no database connection that could be closed.
    """
    arguments: Any = getattr(function, "args", ())
    deferred = arguments[-1] if arguments else None
    return getattr(deferred, "func", None) is close_old_connections


class Calls(Executor):
    """The executor of one connection's synchronous calls, for ``sync_to_async``.

    Args:
        shared: Database connections of other threads that the calls may use.
        carried: State that the project's hooks carry over to the thread.
    """

    __slots__ = ("_lock", "worker", "carried", "shared")

    def __init__(
        self, shared: dict[str, Any] | None = None, carried: Sequence[Any] = ()
    ) -> None:
        self.shared = shared or {}
        self.carried = carried
        self._lock = native.allocate_lock()
        #: The thread, as long as there are calls or open database connections.
        self.worker: Worker | None = None

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Make a call after the earlier ones; return a future of the running loop.

        Raises:
            RuntimeError: The system has no thread left.
        """
        if kwargs:
            raise TypeError("the calls of a view take no arguments by name")
        call = Call(asyncio.get_running_loop(), function, args)
        with self._lock:
            if self.worker is None and _only_closes(function):
                call.future.set_result(None)
            else:
                self._put(call)
        return call.future

    def put(self, work: Callable[[Callable[[], None]], None]) -> None:
        """Have the thread do something after the earlier calls.

        Args:
            work: Called with a function that applies what belongs to the connection.

        Raises:
            RuntimeError: The system has no thread left.
        """
        with self._lock:
            self._put(work)

    def _put(self, work: Any) -> None:
        if self.worker is None:
            self.worker = _pool.take(self)
        self.worker.put(work)

    def rest(self) -> None:
        """Have the thread close the database connections that it may not keep."""
        self._tell(_REST)

    def end(self) -> None:
        """Have the thread close all database connections: the view has ended."""
        self._tell(_END)

    def _tell(self, word: str) -> None:
        with self._lock:
            if self.worker is not None:
                self.worker.put(word)

    def release(self, may_go: Callable[[], bool]) -> bool:
        """Let the thread go if that is still possible; return whether it was."""
        with self._lock:
            if may_go():
                self.worker = None
            return self.worker is None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do what the end of the view does."""
        self.end()

"""The default executor of the event loop: ``asyncio.to_thread()`` and the like use it.

The end of the interpreter joins the threads of a ``ThreadPoolExecutor``, and lets it
take no call any more, before it calls the functions of ``atexit``. In a WSGI process,
only those close the connections (see :mod:`dwebsocket.process.exit`). So a call that
blocks would hold up the end, and what views call at their end would fail.

Under gevent, the usual executor would start greenlets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dwebsocket.process import native

from .calls import Call, Calls

__all__ = ("DefaultExecutor",)


class DefaultExecutor(ThreadPoolExecutor):
    """Makes calls in the threads of :mod:`.calls`, which are daemon threads.

    It is a ``ThreadPoolExecutor`` because asyncio demands that of a default executor.
    So many calls as with asyncio's own run at a time; further ones wait.

    Args:
        loop: The loop of the futures.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._lock = native.allocate_lock()
        self._waiting: deque[Call] = deque()
        #: Each has one thread, and keeps its database connections for a while. The last
        #: one is taken first, since it is the most likely one to have them still.
        self._idle = [Calls() for _ in range(self._max_workers)]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Make a call in a thread; return a future of the loop.

        Raises:
            RuntimeError: The system has no thread left.
        """
        call = Call(self._loop, lambda: fn(*args, **kwargs), ())
        with self._lock:
            self._waiting.append(call)
            if not self._idle:
                return call.future
            calls = self._idle.pop()
            try:
                calls.put(lambda prepare: self._serve(calls, prepare))
            except RuntimeError:
                self._waiting.pop()
                self._idle.append(calls)
                raise
        return call.future

    def _serve(self, calls: Calls, prepare: Callable[[], None]) -> None:
        """Make the calls that wait, in a thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._idle.append(calls)
                    return
                call = self._waiting.popleft()
            call(prepare)
            del call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads end by themselves."""

"""The stop of a process whose server carries the messages of its connections.

Most servers say by the lifespan protocol that they stop. daphne does not know it, and
hypercorn and granian say so when they have cut all connections off: the package looks
at what tells the server itself to stop.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from types import FrameType
from typing import Any

from dwebsocket.conf import settings
from dwebsocket.process import exit

from .carrier import carried
from .protocol import Send

__all__ = ("depart", "follow")

#: The part of the server that is followed.
_followed: Any = None
#: Keeps the tasks alive.
_tasks: set[asyncio.Task[None]] = set()


def depart() -> None:
    """Close all connections; wait until their Close frames are sent.

    Call this in a thread, since the server's loop carries the frames meanwhile.
    """
    # Those that the server carries would not last for the spread.
    exit.depart(at_once=carried() > 0)
    exit.wait_until(lambda: not carried(), settings.SHUTDOWN_TIMEOUT)


def follow(send: Send) -> None:
    """Begin to follow the server's stop; called in its loop, for each connection.

    Args:
        send: The server's function for the connection.
    """
    owner = getattr(send, "__self__", None)
    if type(owner).__module__.startswith("hypercorn."):
        _follow_hypercorn(getattr(owner, "context", None))
    elif "twisted.internet.reactor" in sys.modules:
        _follow_twisted(sys.modules["twisted.internet.reactor"])
    elif "granian" in sys.modules:
        _follow_granian(asyncio.get_running_loop())


def _follow_hypercorn(context: Any) -> None:
    """Say goodbye when hypercorn's worker is told to stop.

    The worker gets no signal: another process sets an event.
    """
    global _followed
    if context is None or context is _followed or not hasattr(context, "terminated"):
        return
    _followed = context
    loop = asyncio.get_running_loop()

    async def say_goodbye() -> None:
        await context.terminated.wait()
        await loop.run_in_executor(None, depart)

    task = loop.create_task(say_goodbye())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _follow_twisted(reactor: Any) -> None:
    """Have the reactor of daphne wait for the goodbye before it stops."""
    global _followed
    if reactor is _followed or not getattr(reactor, "running", False):
        return
    _followed = reactor
    from twisted.internet.threads import deferToThread

    reactor.addSystemEventTrigger("before", "shutdown", deferToThread, depart)


def _follow_granian(loop: asyncio.AbstractEventLoop) -> None:
    """Say goodbye before granian hears of a signal to stop."""
    global _followed
    if loop is _followed:
        return
    _followed = loop
    stop = _event_of_granian(sys._getframe(1))
    if stop is None:
        return

    def stop_later() -> None:
        loop.run_in_executor(None, depart).add_done_callback(lambda _: stop.set())

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop_later)
        except (NotImplementedError, RuntimeError, ValueError):
            # The loop is not that of the main thread.
            return


def _event_of_granian(step: FrameType | None) -> Any:
    """Return the event by which granian's worker is told to stop.

    It is a variable of the function that runs the loop, on the stack.
    """
    while step is not None:
        if str(step.f_globals.get("__name__")).startswith("granian."):
            found = step.f_locals.get("shutdown_event")
            if found is not None:
                return found
        step = step.f_back
    return None

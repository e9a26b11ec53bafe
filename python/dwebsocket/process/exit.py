"""The end of a process that has, or had, connections.

Peers get a Close frame with 1012 (service restart), one after the other, so that they
do not all come back in the same moment. Views see the end and may finish, then the
engine stops. The time for this is limited, to fit into the grace time of the WSGI
server.

The code is 1012, not 1001 (going away), whatever ends the process: a worker that has
served its number of requests, a reload and a deployment begin with the same signals as
an end for good, and another process takes over. Some clients reconnect only after 1012.

A gunicorn worker begins at SIGTERM: the interpreter ends only after the last request,
and gunicorn kills a worker with a request that takes too long.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from dwebsocket import _engine
from dwebsocket.conf import settings

from . import fork, gunicorn, log

__all__ = (
    "arm",
    "clear_up",
    "depart",
    "end_runners",
    "let_end",
    "listen",
    "listen_under_asgi",
    "stop",
    "stopping",
    "wait_until",
)

logger = logging.getLogger("dwebsocket")

#: RFC 6455 section 7.4.1, and the registry of close codes at IANA.
RESTART = 1012
#: The least time for the closing handshakes, in seconds.
_FLOOR = 0.2
#: Seconds between two looks at whether what the end waits for has come.
_STEP = 0.01

#: The process that listens to SIGTERM beside an ASGI server.
_listening_in: int | None = None
#: The process whose end has begun.
_ending_in: int | None = None
_helper: Helper | None = None
#: Functions that wait until their views have ended, for a number of seconds at most,
#: and return whether all have; and functions that name the views that still run.
_waits: list[tuple[Callable[[float], bool], Callable[[], list[str]]]] = []

#: Functions that end what views have left running.
_lasts: list[Callable[[], None]] = []

#: The process whose views have had time to end, and the seconds that they have left.
_left: tuple[int, float] = (0, 0.0)

#: So many views that still run are named in the log.
_NAMED = 10


class Helper(threading.Thread):
    """Stops the engine on behalf of uWSGI's main thread.

    uWSGI ends the interpreter inside of C's ``exit()``, when the thread-local storage
    of the main thread is gone already; the engine cannot work in that thread.
    """

    def __init__(self) -> None:
        super().__init__(name="websocket-stop", daemon=True)
        self._asked = threading.Event()
        self._done = threading.Event()
        self.start()

    def run(self) -> None:
        """Wait for the end of the process, then stop the engine."""
        self._asked.wait()
        _stop()
        self._done.set()

    def ask(self, timeout: float) -> None:
        """Tell the thread to stop the engine, and wait until it has."""
        self._asked.set()
        self._done.wait(timeout)


def wait_until(done: Callable[[], bool], timeout: float) -> bool:
    """Wait until something is done; return whether it is in time.

    The wait sleeps between looks, since what it waits for may have no event: under
    gevent, greenlets run during each sleep.

    Args:
        done: Returns whether it is done.
        timeout: Seconds to wait at most.
    """
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_STEP)
    return True


def let_end(
    wait: Callable[[float], bool], running: Callable[[], list[str]] = list
) -> None:
    """Have the end of the process wait for views.

    Args:
        wait: Called with the seconds that are left; returns whether all views have
            ended.
        running: Returns the paths and visitors of the views that still run.
    """
    _waits.append((wait, running))


def clear_up(last: Callable[[], None]) -> None:
    """Have the end of the process call a function after it has waited for the views.

    The end of the engine in a test calls it, too; what it ends may begin again.
    """
    _lasts.append(last)


def end_runners() -> None:
    """End the loops and threads of views: the engine that they belong to has ended."""
    for last in _lasts:
        last()


@fork.once
def arm() -> None:
    """Register :func:`stop` for the end of this process; called for each connection."""
    global _helper
    # A forked child inherits the registrations of its parent.
    atexit.unregister(stop)
    atexit.register(stop)
    _helper = Helper() if "uwsgi" in sys.modules else None


def listen() -> None:
    """Begin the stop of a gunicorn worker at SIGTERM; called from the first handshake.

    A further call changes nothing: the stop begins once.
    """
    if gunicorn.worker() is not None:
        _engine.leave(RESTART, settings.SHUTDOWN_SPREAD, at_signal=True)


def listen_under_asgi(at_once: bool) -> None:
    """Begin the stop of an ASGI server's process at SIGTERM; idempotent.

    Most of these servers close their WebSockets soon after the signal.

    Args:
        at_once: Whether all connections are closed at once, and not within the spread:
            those whose messages the server carries would be closed by the server.
    """
    global _listening_in
    if _listening_in == os.getpid():
        return
    _listening_in = os.getpid()
    if gunicorn.worker() is None:
        spread = 0.0 if at_once else settings.SHUTDOWN_SPREAD
        _engine.leave(RESTART, spread, at_signal=True)


def stopping() -> bool:
    """Return whether the stop of this process has begun.

    From then on, no further requests should be sent to the process, and its connections
    are being closed.
    """
    return _ending_in == os.getpid() or _engine.is_leaving() or gunicorn.is_ending()


def stop() -> None:
    """Close every connection, let the views end, stop the engine."""
    global _ending_in
    _ending_in = os.getpid()
    if not arm.is_done():
        return
    try:
        if _helper is None:
            _stop()
        else:
            _helper.ask(settings.SHUTDOWN_TIMEOUT + 1.0)
    finally:
        _engine.seal()


def _spread() -> float:
    """Return the seconds over which the connections are closed.

    uWSGI, and gunicorn with one worker and ``--max-requests``, start the next process
    when this one has ended: nobody would serve meanwhile. gunicorn's quick stop is to
    be quick.
    """
    if "uwsgi" in sys.modules:
        return 0.0
    worker = gunicorn.worker()
    spread = float(settings.SHUTDOWN_SPREAD)
    if worker is None or _engine.is_leaving():
        return spread
    return spread if worker.cfg.workers > 1 and gunicorn.has_served_enough() else 0.0


def _say_goodbye() -> None:
    """Close every connection; wait until the last one is being closed."""
    spread = _spread()
    # No effect if SIGTERM has begun this.
    _engine.leave(RESTART, spread)
    _engine.refuse()
    wait_until(_engine.has_left, spread + 1.0)


def _warn_of(running: list[str], timeout: float) -> None:
    """Name the views that the end of the process leaves behind."""
    named = running[:_NAMED]
    if len(running) > _NAMED:
        named.append(f"and {len(running) - _NAMED} more")
    logger.warning(
        "WebSocket views were still running after %s seconds (SHUTDOWN_TIMEOUT): %s",
        timeout,
        ", ".join(named) or "unknown",
    )


def depart(at_once: bool) -> None:
    """Close every connection and let the views end, before the process ends.

    For a server that calls this while it can still send: connections whose messages an
    ASGI server carries get their Close frames.

    Args:
        at_once: Whether all connections are closed at once, and not within the spread.
    """
    global _ending_in
    _ending_in = os.getpid()
    if arm.is_done():
        if at_once:
            _engine.leave(RESTART, 0.0)
        _bring_to_an_end()


def _bring_to_an_end() -> float:
    """Close every connection; let the views end until the time that is returned.

    Under an ASGI server, this is called before the end of the interpreter and at it:
    both have the time together, and views that have used it up are named once.
    """
    global _left
    timeout: float = settings.SHUTDOWN_TIMEOUT
    process, left = _left
    is_first = process != os.getpid()
    if is_first:
        left = timeout
    _say_goodbye()
    deadline = time.monotonic() + left
    _engine.close_all(RESTART)
    for wait, running in _waits:
        in_time = wait(max(deadline - time.monotonic(), 0.0))
        if not in_time and (is_first or left > 0):
            _warn_of(running(), timeout)
    _left = os.getpid(), max(deadline - time.monotonic(), 0.0)
    return deadline


def _stop() -> None:
    timeout = settings.SHUTDOWN_TIMEOUT
    deadline = _bring_to_an_end()
    end_runners()
    if not _engine.hub_flush(max(deadline - time.monotonic(), _FLOOR)):
        logger.warning(
            "%d messages to groups with a history were not stored: the broker %s could "
            "not be reached before the process ended (SHUTDOWN_TIMEOUT: %s seconds)",
            _engine.hub_stats().waiting,
            _engine.broker_address(),
            timeout,
        )
    _engine.stop(max(deadline - time.monotonic(), _FLOOR), RESTART)
    log.drain(log.PATIENCE)

"""The end of a process that has, or had, connections.

Peers get a Close frame with 1012 (service restart), views see the end and may finish,
then the engine stops. The time for this is limited, to fit into the grace time of the
WSGI server.

The code is 1012, not 1001 (going away), whatever ends the process: a worker that has
served its number of requests, a reload and a deployment begin with the same signals as
an end for good, and another process takes over. Some clients reconnect only after 1012.
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

from . import fork, log

__all__ = ("arm", "let_end", "stop")

logger = logging.getLogger("dwebsocket")

#: RFC 6455 section 7.4.1, and the registry of close codes at IANA.
RESTART = 1012
#: The least time for the closing handshakes, in seconds.
_FLOOR = 0.2

_lock = fork.Lock()
_armed_in: int | None = None
_helper: Helper | None = None
#: Functions that wait until their views have ended, for a number of seconds at most,
#: and return whether all have.
_waits: list[Callable[[float], bool]] = []


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


def let_end(wait: Callable[[float], bool]) -> None:
    """Have the end of the process wait for views.

    Args:
        wait: Called with the seconds that are left; returns whether all views have
            ended.
    """
    _waits.append(wait)


def arm() -> None:
    """Register :func:`stop` for the end of this process; called for each connection."""
    global _armed_in, _helper
    if _armed_in == os.getpid():
        return
    with _lock:
        if _armed_in != os.getpid():
            # A forked child inherits the registrations of its parent.
            atexit.unregister(stop)
            atexit.register(stop)
            _helper = Helper() if "uwsgi" in sys.modules else None
            _armed_in = os.getpid()


def stop() -> None:
    """Close every connection, let the views end, stop the engine."""
    if _armed_in != os.getpid():
        return
    try:
        if _helper is None:
            _stop()
        else:
            _helper.ask(settings.SHUTDOWN_TIMEOUT + 1.0)
    finally:
        _engine.seal()


def _stop() -> None:
    timeout = settings.SHUTDOWN_TIMEOUT
    deadline = time.monotonic() + timeout
    _engine.close_all(RESTART)
    if not all(wait(max(deadline - time.monotonic(), 0.0)) for wait in _waits):
        logger.warning("WebSocket views were still running after %s seconds", timeout)
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

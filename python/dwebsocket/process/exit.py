"""The end of a process that has, or had, connections.

Peers get a Close frame with 1012 (service restart), views see the end and may finish,
then the engine stops. Bounded, so that a server's own grace time holds.

1012 and not 1001 (going away), whatever ends the process: a worker that has served its
share, a reload and a deployment all begin with the same signals as an end for good, and
another process takes over. There are clients that come back after 1012 alone.
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
#: What is left to the closing handshakes at least, in seconds.
_FLOOR = 0.2

_lock = fork.Lock()
_armed_in: int | None = None
_helper: Helper | None = None
#: Each waits until the views that it knows have ended, for so many seconds at most, and
#: returns whether they have.
_waits: list[Callable[[float], bool]] = []


class Helper(threading.Thread):
    """Stops the engine on behalf of uWSGI's main thread.

    uWSGI ends the interpreter from C's ``exit()``, when the main thread's thread-local
    storage is gone already; the engine cannot work there.
    """

    def __init__(self) -> None:
        super().__init__(name="websocket-stop", daemon=True)
        self._asked = threading.Event()
        self._done = threading.Event()
        self.start()

    def run(self) -> None:
        """Wait for the end, then stop the engine."""
        self._asked.wait()
        _stop()
        self._done.set()

    def ask(self, timeout: float) -> None:
        """Have the engine stopped, and wait for that."""
        self._asked.set()
        self._done.wait(timeout)


def let_end(wait: Callable[[float], bool]) -> None:
    """Have the end of the process wait for views.

    Args:
        wait: Called with the seconds that are left; returns whether all have ended.
    """
    _waits.append(wait)


def arm() -> None:
    """Have this process stop the engine at its end; called for every connection."""
    global _armed_in, _helper
    if _armed_in == os.getpid():
        return
    with _lock:
        if _armed_in != os.getpid():
            # A child has its parent's registrations.
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

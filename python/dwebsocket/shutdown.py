"""The end of a process that has, or had, connections.

Peers get a Close frame (1001; 1012 when the development server reloads), views see the
end and may finish, then the engine stops. Bounded, so that a server's own grace time
holds.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from typing import Any

from django.utils.autoreload import file_changed

from . import _engine, runners
from .conf import settings

__all__ = ("arm", "stop")

logger = logging.getLogger("dwebsocket")

GOING_AWAY, RESTART = 1001, 1012
#: What is left to the closing handshakes at least, in seconds.
_FLOOR = 0.2

_armed_in: int | None = None
_code = GOING_AWAY


def _note_reload(**kwargs: Any) -> None:
    """Remember that the process ends because its code has changed."""
    global _code
    _code = RESTART


file_changed.connect(_note_reload, dispatch_uid="dwebsocket.shutdown")


def arm() -> None:
    """Have this process stop the engine at its end; called for every connection."""
    global _armed_in
    if _armed_in != os.getpid():
        _armed_in = os.getpid()
        # A child has its parent's registrations.
        atexit.unregister(stop)
        atexit.register(stop)


def stop() -> None:
    """Close every connection, let the views end, stop the engine."""
    if _armed_in != os.getpid():
        return
    timeout = settings.SHUTDOWN_TIMEOUT
    deadline = time.monotonic() + timeout
    try:
        _engine.close_all(_code)
        if not runners.join(timeout):
            logger.warning("Views were still running after %s seconds", timeout)
        _engine.stop(max(deadline - time.monotonic(), _FLOOR), _code)
        runners.log_engine()
    finally:
        _engine.seal()

"""Passes the engine's log records on to :mod:`logging`, with the time of their origin.

The engine's threads never call into Python. In a process with a broker, a Python thread
waits for records, outside of the interpreter, because the engine logs the troubles of
the broker. The thread starts with the connection to the broker. Under gevent, a watcher
of the event loop takes its place: it costs no thread and keeps no loop alive. Processes
without a broker call :func:`drain` only when a view ends and at the end of the process.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
from typing import Any

from dwebsocket import _engine

from . import databases, fork
from .gevent import is_patched

__all__ = ("PATIENCE", "drain", "start")

logger = logging.getLogger("dwebsocket.engine")

#: Seconds for which the end of the process waits for a thread that is logging.
PATIENCE = 2.0

#: Held while records are taken out and logged: the records stay in order, and the end
#: of the process waits for them. Reentrant, because a handler may do anything.
_lock = fork.Lock(reentrant=True)
#: The event loop's watcher, under gevent.
_watcher: Any = None


def drain(patience: float = 0.0) -> None:
    """Pass the engine's waiting records on to :mod:`logging`.

    Args:
        patience: Seconds to wait while another thread does this.
    """
    if not _lock.acquire(timeout=patience):
        return
    try:
        while records := _engine.drain_log():
            for level, message, created in records:
                _log(level, message, created)
    finally:
        _lock.release()


def _log(level: int, message: str, created: float) -> None:
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(
        logger.name, level, "dwebsocket._engine", 0, message, (), None
    )
    # The record has the time when the engine made it.
    record.relativeCreated += (created - record.created) * 1000
    record.created = created
    record.msecs = float(int(created % 1 * 1000))
    logger.handle(record)


def _try_to_drain() -> None:
    databases.begin()
    try:
        drain(PATIENCE)
    except Exception:
        # A filter has failed, for instance. logging does the same if a handler fails.
        if logging.raiseExceptions:
            traceback.print_exc()
    finally:
        # A handler may have opened database connections: nothing else closes them.
        databases.end()


@fork.once
def start() -> bool:
    """Start to log records as soon as they come; once in each process.

    If the system has no thread left, the records are logged later (see :func:`drain`).

    Returns:
        Whether that was possible; if not, the next call tries again.
    """
    if is_patched():
        return _watch()
    thread = threading.Thread(target=_wait, name="websocket-log", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        logger.warning(
            "No thread is left for the engine's log: its records come later",
            exc_info=True,
        )
        return False
    return True


def _wait() -> None:
    while _engine.wait_log():
        _try_to_drain()
    # A test has ended the engine; the next one needs another thread.
    start.forget()


def _watch() -> bool:
    """Report new records to the main thread's event loop; return whether it works."""
    global _watcher
    import gevent

    hub = gevent.get_hub()
    if not hub.main_hub:
        # The loop of another thread ends with that thread. The next call of start() may
        # come from the main thread.
        return False
    queue = _engine.WakeQueue()
    process = os.getpid()

    def ready() -> None:
        if os.getpid() != process:
            # A forked child has a copy of the loop, but the descriptor of its parent.
            watcher.stop()
            return
        queue.drain()
        # Handlers may wait; the loop itself must not.
        gevent.spawn(_try_to_drain)

    watcher = hub.loop.io(queue.fileno(), 1, ref=False)
    watcher.start(ready)
    _watcher = watcher, queue
    return _engine.log_to(queue)

"""What the engine has to say goes to :mod:`logging`, soon and with its own time.

The engine's threads never call into Python. So a thread of Python's waits for records,
outside of the interpreter, in processes with a broker: that is what there is to say
something of. It is started with the connection to the broker. Under gevent it is a
watcher of the event loop, which costs no thread and keeps no loop alive. In other
processes, :func:`drain` is called when a view ends and at the end of the process.
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

#: Seconds for which a thread that logs may hold up the end of the process.
PATIENCE = 2.0

#: Held while records are taken out and logged, so that they stay in order, and that the
#: end of the process does not come in between. The handler of a record may be anything.
_lock = fork.Lock(reentrant=True)
#: Another one, since a handler may use the broker.
_start_lock = fork.Lock()
_started_in: int | None = None
#: The event loop's watcher, under gevent.
_watcher: Any = None


def drain(patience: float = 0.0) -> None:
    """Hand what the engine has to log to :mod:`logging`.

    Args:
        patience: Seconds to wait where another thread is just doing it.
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
    # When it was said, not when it is told.
    record.relativeCreated += (created - record.created) * 1000
    record.created = created
    record.msecs = float(int(created % 1 * 1000))
    logger.handle(record)


def _try_to_drain() -> None:
    databases.begin()
    try:
        drain(PATIENCE)
    except Exception:
        # Of a filter, say. As logging does where a handler fails.
        if logging.raiseExceptions:
            traceback.print_exc()
    finally:
        # What a handler has opened, nobody else would close.
        databases.end()


def start() -> None:
    """Have records logged when they come; once in each process.

    Where no thread is left, they are logged later (see :func:`drain`).
    """
    global _started_in
    if _started_in == os.getpid():
        return
    with _start_lock:
        if _started_in == os.getpid():
            return
        if is_patched():
            if not _watch():
                return
        else:
            thread = threading.Thread(target=_wait, name="websocket-log", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                logger.warning(
                    "No thread is left that could log at once", exc_info=True
                )
                return
        _started_in = os.getpid()


def _wait() -> None:
    while _engine.wait_log():
        _try_to_drain()


def _watch() -> bool:
    """Have the event loop of the main thread told; return whether this was possible."""
    global _watcher
    import gevent

    hub = gevent.get_hub()
    if not hub.main_hub:
        # Another thread's loop ends with it. The next call may come from the right one.
        return False
    queue = _engine.WakeQueue()
    process = os.getpid()

    def ready() -> None:
        if os.getpid() != process:
            # A forked child has a copy of the loop, and the parent's descriptor.
            watcher.stop()
            return
        queue.drain()
        # Handlers may wait, which the loop itself must not.
        gevent.spawn(_try_to_drain)

    watcher = hub.loop.io(queue.fileno(), 1, ref=False)
    watcher.start(ready)
    _watcher = watcher, queue
    return _engine.log_to(queue)

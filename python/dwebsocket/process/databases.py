"""Database connections in views that live for hours.

Django gives a request's connections back when the request ends; a WebSocket's view has
to do so whenever it waits. Threads that never opened one pay a context variable's read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

__all__ = ("begin", "end", "in_use", "receive", "rest", "share", "shared")

#: Seconds that a connection which may be kept is kept while its view waits.
KEEP = 10.0

#: Whether this thread (greenlet) may have a database connection open.
in_use: ContextVar[bool] = ContextVar("dwebsocket_databases", default=False)


#: Aliases of connections that belong to another thread, see :func:`share`.
_borrowed: ContextVar[frozenset[str]] = ContextVar(
    "dwebsocket_borrowed", default=frozenset()
)


def _note(**kwargs: Any) -> None:
    in_use.set(True)


connection_created.connect(_note, dispatch_uid="dwebsocket.databases")


def shared() -> dict[str, Any]:
    """Return this thread's connections that other threads may use as well, by alias.

    Those are the ones that ``LiveServerTestCase`` shares: SQLite databases in memory. A
    second connection to one is refused ("database table is locked") as soon as both
    have something to do.
    """
    return {
        connection.alias: connection
        for connection in connections.all(initialized_only=True)
        if connection.allow_thread_sharing
        and connection.vendor == "sqlite"
        and connection.is_in_memory_db()  # type: ignore[attr-defined]
    }


def share(found: dict[str, Any]) -> None:
    """Use what :func:`shared` has returned in another thread, until :func:`end`."""
    for alias, connection in found.items():
        connections[alias] = connection
    if found:
        _borrowed.set(frozenset(found))


def begin() -> None:
    """Forget what the request's thread had open: it is not this thread's."""
    in_use.set(False)


def end() -> None:
    """Close this thread's connections: nobody else will."""
    for alias in _borrowed.get():
        # Its owner closes it, and may have stopped sharing it.
        del connections[alias]
    _borrowed.set(frozenset())
    if in_use.get():
        connections.close_all()
        in_use.set(False)


def _let_go(everything: bool = False) -> float | None:
    """Close the connections whose time is up, outside of transactions.

    Returns:
        Seconds after which the rest should go too; None if nothing is left to do.
    """
    pause: float | None = None
    idle = True
    borrowed = _borrowed.get()
    for connection in connections.all(initialized_only=True):
        if connection.connection is None or connection.alias in borrowed:
            continue
        if connection.in_atomic_block:
            idle = False
            continue
        if everything:
            connection.close()
        else:
            connection.close_if_unusable_or_obsolete()
        if connection.connection is None:
            continue
        idle = False
        left = KEEP
        if connection.close_at is not None:
            left = min(left, max(connection.close_at - time.monotonic(), 0.0))
        pause = left if pause is None else min(pause, left)
    if idle:
        in_use.set(False)
    return pause


def rest() -> None:
    """Close the connections that are not to be kept: nothing more is asked for now."""
    if in_use.get():
        _let_go()


def receive(
    wait: Callable[[float | None], str | bytes | None], timeout: float | None
) -> str | bytes | None:
    """Call ``wait(timeout)``, and let database connections go before it blocks.

    A connection that may live on (``CONN_MAX_AGE``) does so for a moment, since the
    next message may come soon; then it is closed, and the waiting goes on.
    """
    message = wait(0)
    if message is not None:
        return message
    pause = _let_go()
    if pause is None or (timeout is not None and timeout <= pause):
        return wait(timeout)
    message = wait(pause)
    if message is not None:
        return message
    _let_go(everything=True)
    return wait(None if timeout is None else timeout - pause)

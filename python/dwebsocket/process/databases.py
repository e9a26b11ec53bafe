"""Database connections in views that live for hours.

Django gives a request's connections back when the request ends; the view of a WebSocket
gives them back whenever it waits. A thread that never opened one only reads a context
variable.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.signals import connection_created

__all__ = (
    "KEEP",
    "OF_THREADS",
    "at_use",
    "begin",
    "close",
    "depths",
    "end",
    "forget",
    "give_back",
    "held",
    "in_use",
    "leave",
    "lend",
    "let_go",
    "receive",
    "rest",
    "share",
    "shared",
    "unshare",
)

T = TypeVar("T")

logger = logging.getLogger("dwebsocket")

#: Seconds for which a connection with ``CONN_MAX_AGE`` is kept while its view waits.
KEEP = 10.0

#: Whether this thread (greenlet) may have a database connection open.
in_use: ContextVar[bool] = ContextVar("dwebsocket_databases", default=False)


#: Aliases of connections that belong to another thread, see :func:`share`.
_borrowed: ContextVar[frozenset[str]] = ContextVar(
    "dwebsocket_borrowed", default=frozenset()
)

#: What belongs to a thread, although it is in a context variable.
OF_THREADS = (in_use, _borrowed)


#: Called in each thread (greenlet) that opens a database connection.
_users: list[Callable[[], None]] = []


def at_use(tell: Callable[[], None]) -> None:
    """Have a function called in each thread that opens a database connection."""
    if tell not in _users:
        _users.append(tell)


def _note(**kwargs: Any) -> None:
    in_use.set(True)
    for tell in _users:
        tell()


connection_created.connect(_note, dispatch_uid="dwebsocket.databases")


def shared() -> dict[str, Any]:
    """Return this thread's connections that other threads may use as well, by alias.

    ``LiveServerTestCase`` shares connections to SQLite databases in memory: with a
    second connection to such a database, one of the two fails ("database table is
    locked") as soon as both work at the same time. ``dwebsocket.testing`` shares those
    in a test's transaction.
    """
    return {
        connection.alias: connection
        for connection in connections.all(initialized_only=True)
        if connection.allow_thread_sharing
    }


def share(found: dict[str, Any]) -> None:
    """Use connections that :func:`shared` returned in another thread, until end()."""
    for alias, connection in found.items():
        connections[alias] = connection
    if found:
        _borrowed.set(frozenset(found))


def lend() -> dict[str, Any]:
    """Allow another thread to use this thread's connections, by alias.

    This thread must not use them before :func:`give_back`.
    """
    found = {connection.alias: connection for connection in connections.all()}
    for connection in found.values():
        connection.inc_thread_sharing()
    return found


def give_back(lent: dict[str, Any]) -> None:
    """Take back what :func:`lend` has allowed."""
    for connection in lent.values():
        connection.dec_thread_sharing()


def leave(lent: dict[str, Any]) -> dict[str, Any]:
    """Leave what :func:`lend` has allowed to the other thread, which still uses it.

    This thread gets new connections at their next use. Those that it has shared before
    stay its own.

    Returns:
        What the other thread has to close.
    """
    left = {}
    for alias, connection in lent.items():
        connection.dec_thread_sharing()
        if not connection.allow_thread_sharing:
            connection.inc_thread_sharing()
            del connections[alias]
            left[alias] = connection
    return left


def close(left: dict[str, Any]) -> None:
    """Close connections that :func:`leave` has returned in another thread."""
    for connection in left.values():
        # One that cannot be closed is forgotten all the same.
        with contextlib.suppress(Exception):
            connection.close()


def depths(found: dict[str, Any]) -> list[int]:
    """Return in how many ``atomic()`` blocks each connection is."""
    return [
        len(connection.savepoint_ids) + connection.in_atomic_block
        for connection in found.values()
    ]


def begin() -> None:
    """Reset ``in_use``: a copied context has the value of the request's thread."""
    in_use.set(False)


def held() -> bool:
    """Return whether this thread has open connections of its own."""
    borrowed = _borrowed.get()
    return any(
        connection.connection is not None and connection.alias not in borrowed
        for connection in connections.all(initialized_only=True)
    )


def unshare() -> None:
    """Forget the connections of :func:`share`; their own thread closes them."""
    for alias in _borrowed.get():
        # The owner may have ended the sharing.
        del connections[alias]
    _borrowed.set(frozenset())


def end() -> None:
    """Close this thread's connections: Django closes those of requests only."""
    unshare()
    if in_use.get():
        connections.close_all()
        in_use.set(False)


def forget() -> None:
    """Close and forget the connections of a thread that will run another view.

    That view must not find what this one has set on a connection (a tenant's schema,
    say). Not for greenlets: those of ``gunicorn --preload`` share the connections of
    their thread.
    """
    with contextlib.ExitStack() as closing:
        for connection in connections.all(initialized_only=True):
            # A connection that cannot be closed must not stay, nor keep others.
            closing.callback(connection.close)
            del connections[connection.alias]


def let_go(everything: bool = False) -> float | None:
    """Close the connections whose time is up, except inside of transactions.

    Args:
        everything: Close the other connections, too.

    Returns:
        Seconds after which the remaining connections should be closed; None if no
        connection remains to be closed.
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
        try:
            if everything:
                connection.close()
            else:
                connection.close_if_unusable_or_obsolete()
        except Exception as error:
            # The view has nothing to do with it, and goes on with a new connection.
            logger.warning(
                "A connection to the database %r could not be closed: %r",
                connection.alias,
                error,
                exc_info=error,
            )
            del connections[connection.alias]
            continue
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
    """Close the connections that may not be kept, after a use of the database."""
    if in_use.get():
        let_go()


def receive(
    wait: Callable[[float | None], T | None], timeout: float | None
) -> T | None:
    """Call ``wait(timeout)``, and close database connections before it blocks.

    A connection that may be kept (``CONN_MAX_AGE``) stays open for :data:`KEEP` seconds
    at most, since the next message may come soon; then it is closed, and the wait
    goes on.
    """
    message = wait(0)
    if message is not None:
        return message
    pause = let_go()
    if pause is None or (timeout is not None and timeout <= pause):
        return wait(timeout)
    message = wait(pause)
    if message is not None:
        return message
    let_go(everything=True)
    return wait(None if timeout is None else timeout - pause)

"""Lends the database connections of a test to its views."""

from __future__ import annotations

from typing import Any

from django.db import connections

__all__ = ("give_back", "lend")


def _is_of_the_test(connection: Any) -> bool:
    """Return whether a connection shows what no other connection would show."""
    if connection.in_atomic_block:
        return True
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        return True
    # Django has forbidden this test to use the database.
    return hasattr(connection.connect, "wrapped")


def lend() -> tuple[Any, ...]:
    """Allow other threads to use the connections of the calling thread.

    These are the connections inside of ``atomic()``: a view sees the rows of the test's
    transaction, and what it writes is rolled back with that; and those to SQLite
    databases in memory.

    Returns:
        The connections, for :func:`give_back`.
    """
    lent = tuple(
        connection
        for connection in connections.all(initialized_only=True)
        if _is_of_the_test(connection)
    )
    for connection in lent:
        connection.inc_thread_sharing()
    return lent


def give_back(lent: tuple[Any, ...]) -> None:
    """Take back what :func:`lend` has allowed."""
    for connection in lent:
        connection.dec_thread_sharing()

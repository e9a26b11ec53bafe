"""Closes connections for a member of the staff, and says so in the log."""

from __future__ import annotations

import logging

from django.http import HttpRequest

from dwebsocket import monitor
from dwebsocket.logins.rights import LOGGED_OUT
from dwebsocket.monitor import Connection
from dwebsocket.process.reporting import shown
from dwebsocket.process.trouble import Trouble

__all__ = ("close", "close_all", "refused", "trouble")

logger = logging.getLogger("dwebsocket.monitor")

trouble = Trouble(logger, "The page of the WebSockets cannot show or do all")

#: The close code for clients that may connect again at once (service restart).
AGAIN = 1012
REASON = "closed by the staff"


def close(request: HttpRequest, row: Connection, again: bool) -> int:
    """Close one connection; return how many were open.

    Args:
        request: The request of the member of the staff.
        row: The connection.
        again: Whether the client may connect again at once.
    """
    code = AGAIN if again else LOGGED_OUT
    closed = monitor.close(row.process, [row.id], code, REASON)
    logger.warning(
        "%s has closed %d connection (%s) with the code %d",
        _who(request),
        closed,
        _what(row),
        code,
        extra={"request": request},
    )
    return closed


def close_all(request: HttpRequest, row: Connection, again: bool) -> int:
    """Close all connections of a connection's user; return how many were open.

    A connection of nobody is closed alone.
    """
    if row.user is None:
        return close(request, row, again)
    code = AGAIN if again else LOGGED_OUT
    closed = monitor.close_all(user=row.user, code=code, reason=REASON)
    logger.warning(
        "%s has closed all %d connections of user %s with the code %d",
        _who(request),
        closed,
        shown(row.user),
        code,
        extra={"request": request},
    )
    return closed


def refused(request: HttpRequest, row: Connection) -> None:
    """Log that somebody without the permission wanted to close a connection."""
    logger.warning(
        "%s may not close connections, and wanted to close one (%s)",
        _who(request),
        _what(row),
        extra={"request": request},
    )


def _who(request: HttpRequest) -> str:
    user = request.user
    return f"{shown(user.get_username())} (user {shown(user.pk)})"


def _what(row: Connection) -> str:
    user = "nobody" if row.user is None else f"user {shown(row.user)}"
    address = shown(row.address) or "an unknown address"
    return f"{row.process}:{row.id} of {user}, {shown(row.path)}, from {address}"

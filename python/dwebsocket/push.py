"""Push messages from anywhere: a view, a signal, a shell, a task in another process.

    from dwebsocket import push

    push.to_user(request.user, {"unread": 3}, on_commit=True)

Plain synchronous functions that need no event loop. From another process than the
server's (a Celery worker, a management command), ``DWEBSOCKET["BROKER"]`` is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction

from . import _engine, hub
from ._engine import Published

__all__ = (
    "adisconnect",
    "ato_all",
    "ato_group",
    "ato_user",
    "disconnect",
    "to_all",
    "to_group",
    "to_user",
)

#: Of the private range (RFC 6455 section 7.4.2): the site has ended the session.
LOGGED_OUT = 4001


def _run(
    action: Callable[[], Published], on_commit: bool, using: str | None
) -> Published | None:
    if not on_commit:
        return action()
    transaction.on_commit(lambda: None if action() else None, using=using)
    return None


def _key(user: Any) -> str:
    """Return what a user is known by: the primary key.

    Raises:
        ValueError: It is nobody: not saved, or anonymous.
    """
    key = getattr(user, "pk", user)
    if key is None or key == "":
        raise ValueError(f"{user!r} has no primary key: a saved user is needed")
    return str(key)


def to_group(
    name: str,
    message: Any,
    *,
    exclude: Any = None,
    on_commit: bool = False,
    using: str | None = None,
) -> Published | None:
    """Send a message to the members of a group, in all processes.

    Args:
        name: The group.
        message: ``str`` and ``bytes`` go out as they are, anything else as JSON.
        exclude: A WebSocket of this process, or several, that do not get it.
        on_commit: Send when the database transaction commits, and not at all if it is
            rolled back.
        using: The database whose transaction that is.

    Returns:
        How many connections of this process got it (``.local``) and what the broker
        made of it (``.broker``); None where it waits for a commit.

    Raises:
        ValueError: The name breaks the rules.
        TypeError: The message is not a thing that JSON has a form for.
    """
    group = hub.group(name)
    data = hub.payload(message)
    return _run(lambda: group._publish(data, exclude), on_commit, using)


def to_user(
    user: Any, message: Any, *, on_commit: bool = False, using: str | None = None
) -> Published | None:
    """Send a message to every connection of a user, in all processes.

    Args:
        user: The user, or the primary key.
        message: As for :func:`to_group`.
        on_commit: As for :func:`to_group`.
        using: As for :func:`to_group`.
    """
    return _to("user", [_key(user)], message, on_commit, using)


def to_all(
    message: Any, *, on_commit: bool = False, using: str | None = None
) -> Published | None:
    """Send a message to every open connection, in all processes.

    Args:
        message: As for :func:`to_group`.
        on_commit: As for :func:`to_group`.
        using: As for :func:`to_group`.
    """
    return _to("all", [], message, on_commit, using)


def _to(
    kind: str, targets: list[str], message: Any, on_commit: bool, using: str | None
) -> Published | None:
    data, binary, is_json = hub.payload(message)

    def publish() -> Published:
        hub.connect()
        return _engine.publish(kind, targets, data, binary=binary, json=is_json)

    return _run(publish, on_commit, using)


def disconnect(
    user: Any,
    code: int = LOGGED_OUT,
    reason: str = "",
    *,
    on_commit: bool = False,
    using: str | None = None,
) -> Published | None:
    """Close every connection of a user, in all processes: on logout, say.

    Args:
        user: The user, or the primary key.
        code: The close code that the pages get (RFC 6455 section 7.4).
        reason: At most 123 bytes of UTF-8.
        on_commit: As for :func:`to_group`.
        using: As for :func:`to_group`.

    Raises:
        ValueError: The code may not be sent, or the reason is too long.
    """
    targets = [_key(user)]
    if len(reason.encode()) > 123:
        raise ValueError("a close reason is at most 123 bytes of UTF-8")

    def close() -> Published:
        hub.connect()
        return _engine.disconnect("user", targets, code, reason)

    return _run(close, on_commit, using)


ato_group = sync_to_async(to_group, thread_sensitive=False)
ato_user = sync_to_async(to_user, thread_sensitive=False)
ato_all = sync_to_async(to_all, thread_sensitive=False)
adisconnect = sync_to_async(disconnect, thread_sensitive=False)

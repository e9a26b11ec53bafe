"""Push messages from anywhere: a view, a signal, a shell, a task in another process.

    from dwebsocket import push

    push.to_user(request.user, {"unread": 3}, on_commit=True)

Plain synchronous functions that need no event loop. From another process than the
server's (a Celery worker, a management command), ``DWEBSOCKET["BROKER"]`` is needed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import transaction
from django.db.models import IntegerField, UUIDField
from django.utils.functional import LazyObject, empty

from . import _engine, hub
from ._engine import Published
from .conf import settings
from .hub import blocking, connecting
from .hub.messages import TargetKind
from .logins.rights import LOGGED_OUT, of_tenant

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

logger = logging.getLogger("dwebsocket.hub")

P = ParamSpec("P")
T = TypeVar("T")


def _run(
    action: Callable[[], Published], on_commit: bool, using: str | None
) -> Published | None:
    if not on_commit:
        return action()

    # Robust: what is committed stays so, and other callbacks have their turn. Django
    # logs the exception.
    def act() -> None:
        action()

    transaction.on_commit(act, using=using, robust=True)
    return None


def _key(user: Any) -> str:
    """Return what a user is known by: the primary key, and the tenant.

    Raises:
        ValueError: It is nobody: not saved, or anonymous; or no user has such a key.
        TypeError: It is neither a user nor a primary key.
    """
    if isinstance(user, type):
        raise TypeError(f"a user is needed, not the class {user.__name__}")
    # hasattr() wakes a lazy request.user.
    key = user.pk if hasattr(user, "pk") else user
    if key is None or key == "":
        raise ValueError(f"{user!r} has no primary key: a saved user is needed")
    if key is user and (isinstance(key, bool) or not isinstance(key, str | int | UUID)):
        raise TypeError(
            f"a user is a model instance or its primary key, not {type(user).__name__}"
        )
    if not settings.TRACK_USERS:
        _warn_untracked()
    return of_tenant(_canonical(key) if key is user else str(key))


@functools.cache
def _warn_untracked() -> None:
    """Warn, once, that no WebSocket is known to be a user's."""
    logger.warning(
        "DWEBSOCKET['TRACK_USERS'] is False, so that nobody knows whose a WebSocket "
        "is: what is sent to a user reaches nobody"
    )


def _canonical(key: str | int | UUID) -> str:
    """Return a primary key as the users of this site have it.

    Raises:
        ValueError: No user of this site can have it: it is a name, say.
    """
    try:
        model = get_user_model()
    except ImproperlyConfigured:
        # A site without users; a middleware may say who somebody is all the same.
        return str(key)
    field: Any = model._meta.pk
    while getattr(field, "remote_field", None) is not None:
        field = field.remote_field.model._meta.pk
    if not isinstance(field, IntegerField | UUIDField):
        return str(key)
    has_uuids = isinstance(field, UUIDField)
    try:
        if isinstance(key, int if has_uuids else UUID):
            # Django would make one of the other, and it would be nobody's.
            raise ValidationError("another type")
        return str(field.to_python(key))
    except ValidationError:
        kind = "a UUID" if has_uuids else "a number"
        raise ValueError(
            f"{key!r} is not the primary key of a user, which is {kind} on this site: "
            "pass the user, or user.pk"
        ) from None


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
        exclude: A WebSocket that does not get it, the ``member_id`` of one in any
            process, or several of them.
        on_commit: Send when the database transaction commits, and not at all if it is
            rolled back.
        using: The database whose transaction that is.

    Returns:
        How many connections of this process got it (``.local``) and what the broker
        made of it (``.broker``); None where it waits for a commit.

    Raises:
        ValueError: The name breaks the rules (with ``on_commit``, Django logs that when
            the transaction commits), or the message has a number that JSON has no form
            for.
        TypeError: The name is not a str, ``exclude`` not a WebSocket, or the message
            not a thing that JSON has a form for.
    """
    group = hub.group(name)
    data = hub.payload(message)
    excluded = hub.ids(exclude)
    return _run(lambda: group._publish(data, excluded), on_commit, using)


def to_user(
    user: Any, message: Any, *, on_commit: bool = False, using: str | None = None
) -> Published | None:
    """Send a message to every connection of a user, in all processes.

    Args:
        user: The user, or the primary key.
        message: As for :func:`to_group`.
        on_commit: As for :func:`to_group`.
        using: As for :func:`to_group`.

    Raises:
        ValueError: The user has no primary key: not saved, or anonymous; or no user of
            this site can have that key: it is a name, say.
        TypeError: It is neither a user nor a primary key.
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
    kind: TargetKind,
    targets: list[str],
    message: Any,
    on_commit: bool,
    using: str | None,
) -> Published | None:
    # Made now: what is wrong with it is to be seen here, and what changes until the
    # commit is not to be sent.
    data = hub.payload(message)
    return _run(lambda: publish(kind, targets, data), on_commit, using)


def publish(kind: TargetKind, targets: list[str], payload: hub.Payload) -> Published:
    """Send what :func:`dwebsocket.hub.payload` has made to "user"s or to "all"."""
    connecting.use()
    blocking.note_many()
    data, binary, is_json = payload
    return blocking.call(
        _engine.publish, kind, targets, data, binary=binary, json=is_json
    )


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
        ValueError: The code may not be sent, the reason is too long, or the user has no
            primary key, or none that a user of this site can have.
        TypeError: It is neither a user nor a primary key.
    """
    targets = [_key(user)]
    hub.check_reason(reason)
    return _run(lambda: hub.disconnect("user", targets, code, reason), on_commit, using)


def _is_unknown(argument: Any) -> bool:
    return isinstance(argument, LazyObject) and argument._wrapped is empty


def _twin(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a function that does the same without holding up the event loop."""

    @functools.wraps(function)
    async def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        # Only Django's own thread knows the transaction, and may ask the database who a
        # lazy user is; all else may run anywhere.
        lazy = any(map(_is_unknown, (*args, *kwargs.values())))
        sensitive = lazy or bool(kwargs.get("on_commit"))
        run = sync_to_async(function, thread_sensitive=sensitive)
        return await run(*args, **kwargs)

    twin.__name__ = twin.__qualname__ = f"a{function.__name__}"
    return twin


ato_group = _twin(to_group)
ato_user = _twin(to_user)
ato_all = _twin(to_all)
adisconnect = _twin(disconnect)

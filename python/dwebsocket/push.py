"""Push messages from anywhere: a view, a signal, a shell, a task in another process.

    from dwebsocket import push

    push.to_user(request.user, {"unread": 3}, on_commit=True)

These are plain synchronous functions that need no event loop. In a process that is not
the server's (a Celery worker, a management command), they need
``DWEBSOCKET["BROKER"]``.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
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
from .hub.handles import publish_to
from .hub.messages import Excluded, TargetKind, User
from .logins.rights import LOGGED_OUT, of_tenant

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .pushing import Disconnect, ToAll, ToGroup, ToUser

    Later = Coroutine[Any, Any, None]
    Now = Coroutine[Any, Any, Published]
    Either = Coroutine[Any, Any, Published | None]

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


def _run(
    action: Callable[[], Published], on_commit: bool, using: str | None
) -> Published | None:
    if not on_commit:
        return action()

    # robust=True: after the commit, an exception is of no use to the caller. Django
    # logs the exception and runs the other callbacks.
    def act() -> None:
        action()

    transaction.on_commit(act, using=using, robust=True)
    return None


def key_of(user: Any) -> str:
    """Return a user's name in the hub: the primary key, and the tenant.

    Raises:
        ValueError: The user has no primary key (is not saved, or is anonymous), or no
            user of this site can have this primary key.
        TypeError: The argument is neither a user nor a primary key.
    """
    if isinstance(user, type):
        raise TypeError(f"a user is needed, not the class {user.__name__}")
    # hasattr() evaluates a lazy request.user.
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
    """Warn once that this site does not track the users of WebSockets."""
    logger.warning(
        "DWEBSOCKET['TRACK_USERS'] is False: this site does not know the users of its "
        "WebSockets, and messages to a user reach nobody"
    )


def _canonical(key: str | int | UUID) -> str:
    """Return a primary key in the form that the keys of this site's users have.

    Raises:
        ValueError: No user of this site can have the key: it is a name, for example.
    """
    try:
        model = get_user_model()
    except ImproperlyConfigured:
        # The site has no user model; a middleware may set request.user all the same.
        return str(key)
    field: Any = model._meta.pk
    while getattr(field, "remote_field", None) is not None:
        field = field.remote_field.model._meta.pk
    if not isinstance(field, IntegerField | UUIDField):
        return str(key)
    has_uuids = isinstance(field, UUIDField)
    try:
        if isinstance(key, int if has_uuids else UUID):
            # Django would convert the one to the other, and the result is nobody's key.
            raise ValidationError("another type")
        return str(field.to_python(key))
    except ValidationError:
        kind = "a UUID" if has_uuids else "a number"
        raise ValueError(
            f"{key!r} is not the primary key of a user, which is {kind} on this site: "
            "pass the user, or user.pk"
        ) from None


def _as_to_group(function: Any) -> ToGroup[Published, None, Published | None]:
    declared: ToGroup[Published, None, Published | None] = function
    return declared


@_as_to_group
def to_group(
    name: str,
    message: Any,
    *,
    exclude: Excluded | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> Published | None:
    """Send a message to the members of a group, in all processes.

    Args:
        name: The name of the group.
        message: ``str`` and ``bytes`` are sent as they are, anything else as JSON.
        exclude: A WebSocket that does not get the message, the ``member_id`` of a
            WebSocket in any process, or several of these.
        on_commit: Send when the database transaction commits; do not send if it is
            rolled back.
        using: The database of the transaction.

    Returns:
        The number of connections of this process that the message went to (``.local``),
        and what the broker did with the message (``.broker``). None with ``on_commit``.

    Raises:
        ValueError: The name breaks the rules (with ``on_commit``, Django logs this
            error when the transaction commits), or the message contains a number that
            JSON cannot express.
        TypeError: The name is not a str, ``exclude`` is not a WebSocket, or the message
            contains an object that JSON cannot express.
    """
    group = hub.group(name)
    data = hub.payload(message)
    excluded = hub.ids(exclude)
    return _run(lambda: publish_to(group, data, excluded), on_commit, using)


def _as_to_user(function: Any) -> ToUser[Published, None, Published | None]:
    declared: ToUser[Published, None, Published | None] = function
    return declared


@_as_to_user
def to_user(
    user: User, message: Any, *, on_commit: bool = False, using: str | None = None
) -> Published | None:
    """Send a message to every connection of a user, in all processes.

    Args:
        user: The user, or the primary key.
        message: As for :func:`to_group`.
        on_commit: As for :func:`to_group`.
        using: As for :func:`to_group`.

    Raises:
        ValueError: The user has no primary key (is not saved, or is anonymous), or no
            user of this site can have this primary key (it is a name, for example).
        TypeError: ``user`` is neither a user nor a primary key.
    """
    return _to("user", [key_of(user)], message, on_commit, using)


def _as_to_all(function: Any) -> ToAll[Published, None, Published | None]:
    declared: ToAll[Published, None, Published | None] = function
    return declared


@_as_to_all
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
    # Encode the message now: the caller gets the errors, and later changes of the data
    # are not sent.
    data = hub.payload(message)
    return _run(lambda: publish(kind, targets, data), on_commit, using)


def publish(kind: TargetKind, targets: list[str], payload: hub.Payload) -> Published:
    """Send a message that :func:`dwebsocket.hub.payload` has made to users or all."""
    connecting.use()
    blocking.note_many()
    data, binary, is_json = payload
    return blocking.call(
        _engine.publish, kind, targets, data, binary=binary, json=is_json
    )


def _as_disconnect(function: Any) -> Disconnect[Published, None, Published | None]:
    declared: Disconnect[Published, None, Published | None] = function
    return declared


@_as_disconnect
def disconnect(
    user: User,
    code: int = LOGGED_OUT,
    reason: str = "",
    *,
    on_commit: bool = False,
    using: str | None = None,
) -> Published | None:
    """Close every connection of a user, in all processes; for a logout, for example.

    Args:
        user: The user, or the primary key.
        code: The close code that the pages get (RFC 6455 section 7.4).
        reason: At most 123 bytes of UTF-8.
        on_commit: As for :func:`to_group`.
        using: As for :func:`to_group`.

    Raises:
        ValueError: The code may not be sent, the reason is too long, the user has no
            primary key, or no user of this site can have this primary key.
        TypeError: ``user`` is neither a user nor a primary key.
    """
    targets = [key_of(user)]
    hub.check_reason(reason)
    return _run(lambda: hub.disconnect("user", targets, code, reason), on_commit, using)


def _is_unknown(argument: Any) -> bool:
    return isinstance(argument, LazyObject) and argument._wrapped is empty


def _twin(function: Any, *, names_user: bool = False) -> Any:
    """Return an asynchronous variant of a function, which does not block the loop.

    Args:
        function: The function.
        names_user: Whether the function asks for the user's tenant.
    """

    @functools.wraps(function)
    async def twin(*args: Any, **kwargs: Any) -> Any:
        # Django's thread for synchronous code has the transaction (on_commit) and the
        # tenant of the request (TENANT may read it from the database connection), and
        # may ask the database for a lazy user. Other calls may run in any thread.
        lazy = any(map(_is_unknown, (*args, *kwargs.values())))
        by_tenant = names_user and settings.TENANT is not None
        sensitive = lazy or by_tenant or bool(kwargs.get("on_commit"))
        run = sync_to_async(function, thread_sensitive=sensitive)
        return await run(*args, **kwargs)

    twin.__name__ = twin.__qualname__ = f"a{function.__name__}"
    return twin


ato_group: ToGroup[Now, Later, Either] = _twin(to_group)
ato_user: ToUser[Now, Later, Either] = _twin(to_user, names_user=True)
ato_all: ToAll[Now, Later, Either] = _twin(to_all)
adisconnect: Disconnect[Now, Later, Either] = _twin(disconnect, names_user=True)

"""Sends notifications: stores them in the database and tells the open pages."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.utils import timezone

from dwebsocket import hub
from dwebsocket.hub.handles import publish_to
from dwebsocket.hub.messages import User
from dwebsocket.logins.rights import of_tenant

from .conf import push_settings
from .models import Notification

__all__ = ("anotify", "group_of", "notify")

logger = logging.getLogger("dwebsocket.push")


class _Default:
    """The default of an argument whose value None has a meaning."""

    def __repr__(self) -> str:
        return "the setting TTL"


DEFAULT = _Default()
Expires: TypeAlias = "datetime | timedelta | float | _Default | None"

#: The most rows that one call deletes; usually one, more after LIMIT was lowered.
_AT_ONCE = 500


def group_of(key: Any) -> hub.Group:
    """Return the group of a user's pages, by primary key, in this tenant."""
    # The name ends in a colon, not in the key: a name that ends in * is a wildcard.
    name = f"dwebsocket.push:{of_tenant(str(key))}:"
    return hub.group(name, history=0, presence=False)


def notify(
    user: User,
    payload: Any,
    *,
    on_commit: bool = False,
    expires: Expires = DEFAULT,
) -> Notification:
    """Notify a user: all open pages at once, or else the next page that is opened.

    Args:
        user: The user, or the primary key.
        payload: Anything that JSON can express.
        on_commit: Tell the open pages when the transaction commits, not before. (The
            notification itself is part of the transaction in any case.) Use this
            wherever there is a transaction.
        expires: When the notification expires: a point in time, or a time from now
            (a timedelta, or a number of seconds); None: never. The default is the
            setting ``TTL``.

    Returns:
        The stored notification.

    Raises:
        ValueError: The user has no primary key (is not saved, or is anonymous), no user
            can have this primary key (it is a name, for example), or the payload
            contains a number that JSON cannot express.
        TypeError: The payload contains an object that JSON cannot express.
    """
    # Check the payload before it is stored: pages get it as JSON.
    hub.to_json(payload)
    key = _key(user)
    # Name the group now: at the commit, another tenant may be active.
    pages = group_of(key)
    using = router.db_for_write(Notification)
    notification = Notification.objects.using(using).create(
        user_id=key, payload=payload, expires=_expiry(expires)
    )
    _make_room(notification.user_id, using)
    # Encode it now: later changes of the payload, until the commit, are not sent.
    frame = hub.payload({"notification": notification.as_frame()})

    def tell() -> None:
        publish_to(pages, frame, [])

    if on_commit:
        # robust=True: the commit is done, so Django only logs an exception.
        transaction.on_commit(tell, using=using, robust=True)
    else:
        tell()
    return notification


async def anotify(
    user: User,
    payload: Any,
    *,
    on_commit: bool = False,
    expires: Expires = DEFAULT,
) -> Notification:
    """Call :func:`notify` from asynchronous code."""
    return await sync_to_async(notify)(
        user, payload, on_commit=on_commit, expires=expires
    )


def _make_room(key: Any, using: str) -> None:
    """Delete a user's oldest notifications above the limit, and log a warning."""
    limit = push_settings.LIMIT
    mine = Notification.objects.using(using).filter(user_id=key)
    # A list of keys, because not every database can delete by a query with a limit.
    keys = mine.order_by("-pk").values_list("pk", flat=True)
    surplus = list(keys[limit : limit + _AT_ONCE])
    if surplus:
        dropped, _ = mine.filter(pk__in=surplus).delete()
        logger.warning(
            "Dropped %d notifications of the user %s: LIMIT is %d", dropped, key, limit
        )


def _key(user: Any) -> Any:
    key = user.pk if hasattr(user, "pk") else user
    if key is None or key == "":
        raise ValueError(f"{user!r} has no primary key: a saved user is needed")
    try:
        return get_user_model()._meta.pk.to_python(key)
    except ValidationError:
        raise ValueError(
            f"{key!r} is not the primary key of a user: pass the user, or user.pk"
        ) from None


def _expiry(expires: Expires) -> datetime | None:
    if isinstance(expires, _Default):
        ttl: float | None = push_settings.TTL
        expires = ttl
    if expires is None or isinstance(expires, datetime):
        return expires
    if not isinstance(expires, timedelta):
        expires = timedelta(seconds=expires)
    return timezone.now() + expires

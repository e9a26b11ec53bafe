"""Follows the logins of connections, by checks and by Django's signals.

When a user logs out, or is deactivated or deleted through Django, the user's
connections are closed at once, in all processes that a broker joins.
"""

from __future__ import annotations

from typing import Any

from django.contrib import auth
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends import signed_cookies
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from dwebsocket import hub
from dwebsocket.conf import settings

from . import rights
from .watching import Watch, watcher

__all__ = ("begin", "end", "listen")


def begin(found: rights.Rights, interval: float) -> None:
    """Start the checks of a login; call this in the thread of its view."""
    listen()
    found.interval = interval
    try:
        found.remember()
    except Exception as error:
        rights.trouble.note(error)
    found.follow()
    watcher.add(Watch(found, interval))
    if found.over:
        # The view has ended meanwhile: a helper thread has called watch().
        watcher.remove(found.connection.id)


def end(found: rights.Rights) -> None:
    """Stop the checks of a login."""
    found.over = True
    if found.interval is not None:
        watcher.remove(found.connection.id)


def _hang_up(channel: str | None, code: int, reason: str) -> None:
    try:
        if channel is not None:
            hub.disconnect("user", [channel], code, reason)
    except Exception as error:
        # A logout or a save must not fail because of this; the next check finds out.
        rights.trouble.note(error)


def _logged_out(request: Any = None, user: Any = None, **kwargs: Any) -> None:
    session = getattr(request, "session", None)
    key = getattr(session, "session_key", None)
    if not key or not _is_of_use():
        return
    _hang_up(rights.session_channel(key), rights.LOGGED_OUT, "logged out")
    if isinstance(session, signed_cookies.SessionStore) and user is not None:
        # Such a session has no key of its own to find its connections by. Close all of
        # the user's connections; browsers that are still logged in connect again.
        _hang_up(_found(user), rights.COME_AGAIN, "logged out, perhaps elsewhere")


def _user_saved(instance: Any, using: str | None = None, **kwargs: Any) -> None:
    if not getattr(instance, "is_active", True) and _is_of_use():
        _after_commit(_found(instance), "the account is not active", using)


def _user_deleted(instance: Any, using: str | None = None, **kwargs: Any) -> None:
    if _is_of_use():
        _after_commit(_found(instance), "the account is gone", using)


def _found(user: Any) -> str | None:
    """Return the name under which a user's connections are found in this tenant."""
    try:
        return rights.active_channel(str(user.pk))
    except Exception as error:
        rights.trouble.note(error)
        return None


def _after_commit(channel: str | None, reason: str, using: str | None) -> None:
    def act() -> None:
        _hang_up(channel, rights.LOGGED_OUT, reason)

    try:
        transaction.on_commit(act, using=using, robust=True)
    except transaction.TransactionManagementError:
        act()  # autocommit is off: the project commits by hand


def _is_of_use() -> bool:
    return bool(settings.BROKER) or watcher.is_busy()


def listen() -> None:
    """Connect to Django's signals of logouts and of changed users. Idempotent."""
    user_logged_out.connect(_logged_out, dispatch_uid="dwebsocket.rights")
    try:
        users = auth.get_user_model()
    except (ImproperlyConfigured, LookupError):
        return  # a site without users
    post_save.connect(_user_saved, sender=users, dispatch_uid="dwebsocket.rights")
    post_delete.connect(_user_deleted, sender=users, dispatch_uid="dwebsocket.rights")

"""Whether the user of a connection may still be connected.

A handshake is let in by a login, and a login ends: the user logs out, is deactivated or
deleted, changes the password, the session expires. ``Rights`` reads that anew, for the
view that asks (``websocket.recheck()``) and for the watcher, one thread (greenlet) for
the whole process: it needs one database connection, and a view that waits, sends or
sleeps need not take part. What Django tells by signals ends connections at once.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import auth
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends import cache as cache_sessions
from django.contrib.sessions.backends import file as file_sessions
from django.contrib.sessions.backends import signed_cookies
from django.core.exceptions import (
    ImproperlyConfigured,
    ObjectDoesNotExist,
    PermissionDenied,
)
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest
from django.utils.crypto import get_random_string, salted_hmac
from django.utils.functional import cached_property

from . import databases, hub, users
from .conf import settings
from .trouble import Trouble

__all__ = (
    "COME_AGAIN",
    "LOGGED_OUT",
    "Revoked",
    "Rights",
    "hang_up",
    "listen",
    "may_stay",
    "renew",
    "trouble",
)

logger = logging.getLogger("dwebsocket.users")

#: Of the private range (RFC 6455 section 7.4.2). LOGGED_OUT: the login has ended, and
#: dwebsocket.js does not come back. COME_AGAIN: another handshake has to tell whether
#: it has; dwebsocket.js comes back by itself.
LOGGED_OUT, COME_AGAIN = 4001, 4101

trouble = Trouble(logger, "The logins of open WebSockets could not be checked")


class Revoked(Exception):
    """The login that a connection was opened with has ended.

    Args:
        reason: Why, as the peer gets it.
        code: The close code.
        doubtful: Whether the next moment may tell otherwise: a changed password is
            saved before the session that goes on with it.
    """

    def __init__(
        self, reason: str, code: int = LOGGED_OUT, *, doubtful: bool = False
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.doubtful = doubtful


class _Peek(dict[str, Any]):
    """A session's data for Django's ``get_user()``, which may not change the session.

    The browser would not get the cookie of a session that has a new key.
    """

    def flush(self) -> None:
        """Do nothing."""

    def cycle_key(self) -> None:
        """Do nothing."""


class Rights:
    """The login that a request came with, and whether it still holds.

    Args:
        request: The request.
    """

    __slots__ = (
        "_hash",
        "_key",
        "_login",
        "_was_active",
        "allowed",
        "carried",
        "checked",
        "doubted",
        "interval",
        "never",
        "request",
        "tried",
        "user",
    )

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        #: Seconds between two checks of the watcher; None: it makes none.
        self.interval: float | None = None
        #: Whether the project wants no checks in sessions, either.
        self.never = False
        #: What the project's hooks bring over, for threads other than the view's.
        self.carried: Sequence[Any] = ()
        #: What the application asks beside that.
        self.allowed: Callable[[], bool] | None = None
        #: Whether the latest check of the watcher has found a doubtful end.
        self.doubted = False
        #: The times (monotonic) of the latest check and of the latest that could be
        #: made; 0 before the first.
        self.tried = self.checked = 0.0
        #: The user, as read by the latest check; None: nobody, or not read yet.
        self.user: Any = None
        self._key: str | None = None
        self._login: str | None = None
        self._hash: str | None = None
        self._was_active = False

    def remember(self) -> None:
        """Note who the user is; each check does, until it has worked once."""
        if self.checked:
            return
        self.tried = time.monotonic()
        user = getattr(self.request, "user", None)
        if user is not None and getattr(user, "is_authenticated", False):
            self._remember(user)
        self.checked = time.monotonic()

    def _remember(self, user: Any) -> None:
        key = getattr(user, "pk", None)
        if key is None:
            return
        session = getattr(self.request, "session", None)
        if getattr(session, "session_key", None):
            login = session.get(auth.SESSION_KEY)  # type: ignore[union-attr]
            self._login = None if login is None else str(login)
        if self._login != _text(user) and hasattr(user, "get_session_auth_hash"):
            self._hash = user.get_session_auth_hash()
        self._was_active = bool(getattr(user, "is_active", True))
        self._key = str(key)

    def channels(self) -> list[str]:
        """Return the names under which :func:`_hang_up` finds the connection."""
        found = []
        if self._key is not None and self._was_active:
            found.append(_active(self._key))
        if self._login is not None:
            found.append(_session(self.request.session.session_key or ""))
        return found

    def check(self) -> None:
        """Read the user anew.

        Raises:
            Revoked: The login has ended.
            Exception: Nobody can tell now: the database is away, say.
        """
        self.remember()
        self.tried = time.monotonic()
        if not self._is_allowed():
            raise Revoked("not allowed any longer")
        if self._key is not None:
            user = self._user()
            if self._was_active and not getattr(user, "is_active", True):
                raise Revoked("the account is not active")
            self.user = user
        self.checked = time.monotonic()

    def _is_allowed(self) -> bool:
        try:
            return self.allowed is None or bool(self.allowed())
        except PermissionDenied:
            return False

    def _user(self) -> Any:
        logged_in = self._of_session() if self._login is not None else None
        if logged_in is not None and str(logged_in.pk) == self._key:
            return logged_in
        # Found by something else than the session: a token, or an administrator who
        # looks at the site as somebody else.
        user = self._read()
        changed = self._hash is not None and user.get_session_auth_hash() != self._hash
        if changed:
            raise Revoked("the password has changed")
        return user

    def _read(self) -> Any:
        """Read the user from the database; other users than models are as they were."""
        user: Any = self.request.user
        if not hasattr(user, "_meta"):
            return user
        manager = user.__class__._default_manager
        try:
            return manager.using(user._state.db).get(pk=user.pk)
        except ObjectDoesNotExist:
            raise Revoked("the account is gone") from None

    def _of_session(self) -> Any:
        session = self.request.session
        key = session.session_key
        data: dict[str, Any] = {}
        if key:
            store = _opened(session, key)
            data = store.load()
            if not data:
                _make_sure(store, key)
        login = data.get(auth.SESSION_KEY)
        if login is None:
            raise self._without_session(session)
        request = HttpRequest()
        request.session = _Peek(data)  # type: ignore[assignment]
        user = auth.get_user(request)
        if str(login) != self._login:
            raise Revoked("logged out")
        if not user.is_authenticated:
            raise Revoked("logged out", doubtful=True)
        return user

    def _without_session(self, session: Any) -> Revoked:
        """Return why there is no session any longer.

        Whoever changes the password stays logged in, in a session of another key.
        """
        given = session.get(auth.HASH_SESSION_KEY)
        user: Any = None
        if str(self.request.user.pk) == self._login:
            user = self._read()
        if (
            given
            and hasattr(user, "get_session_auth_hash")
            and getattr(user, "is_active", True)
            and user.get_session_auth_hash() != given
        ):
            return Revoked("the password has changed", COME_AGAIN)
        return Revoked("logged out")


def _text(user: Any) -> str:
    meta = getattr(user, "_meta", None)
    return str(user.pk if meta is None else meta.pk.value_to_string(user))


def _opened(session: Any, key: str) -> Any:
    """Return the session of this key, yet to be loaded from its store."""
    try:
        return type(session)(session_key=key)
    except TypeError:
        # An engine of the project's own, which needs more than the key.
        fresh = copy.copy(session)
        fresh.__dict__.pop("_session_cache", None)
        return fresh


def _make_sure(store: Any, key: str) -> None:
    """Tell a session that is gone from a store that is away.

    Raises:
        OSError: The store does not work.
    """
    kind = type(store)
    if issubclass(kind, cache_sessions.SessionStore):
        # A cache that cannot be reached looks like one that has nothing.
        probe = f"dwebsocket.{get_random_string(12)}"
        store._cache.set(probe, probe, 10)
        if store._cache.get(probe) != probe:
            raise OSError("the cache that has the sessions keeps nothing")
        store._cache.delete(probe)
    elif issubclass(kind, file_sessions.SessionStore):
        # The same with a directory that is away, or no descriptor left.
        os.stat(store.storage_path)
        with contextlib.suppress(FileNotFoundError), open(store._key_to_file(key)):
            pass


def renew(request: Any, user: Any) -> None:
    """Put a user that was read anew into a request.

    What middleware has noted on the old one (a second factor, say) goes along; what
    Django has cached there (permissions, related rows) does not.
    """
    old = getattr(request, "user", None)
    if user is None or old is None or old.__class__ is not user.__class__:
        return
    noted = getattr(old, "__dict__", {})
    if "_wrapped" in noted:
        noted = noted["_wrapped"].__dict__
    for name, value in noted.items():
        cached = isinstance(getattr(user.__class__, name, None), cached_property)
        if not name.startswith("_") and not cached:
            user.__dict__.setdefault(name, value)
    request.user = user


def may_stay(websocket: Any) -> bool:
    """Check the login of a connection in the caller's thread; hang up if it has ended.

    Where nobody can tell, the connection stays, and the log says so.
    """
    rights: Rights | None = websocket._rights
    if rights is None:
        return not websocket._connection.ended
    fresh = not databases.in_use.get()
    if not _passes(websocket, rights):
        return False
    renew(rights.request, rights.user)
    if fresh:
        databases.rest()
    return True


def _passes(websocket: Any, rights: Rights) -> bool:
    try:
        rights.check()
    except Revoked as error:
        hang_up(websocket, error)
        return False
    except Exception as error:
        trouble.note(error)
    else:
        trouble.over()
    return True


def hang_up(websocket: Any, error: Revoked) -> None:
    """Close a connection whose login has ended."""
    logger.info("Hung up on connection %d: %s", websocket._connection.id, error.reason)
    websocket.close(error.code, error.reason)


# At once, in all processes: what Django tells by signals.


def _session(key: str) -> str:
    # Names travel to the broker; the key of a session is a secret.
    digest = salted_hmac("dwebsocket.session", key, algorithm="sha256").hexdigest()
    return f"~session:{digest}"


def _active(key: str) -> str:
    # With a colon at the end: a name that ends in * would stand for others' names.
    return f"~active:{users.of_tenant(key)}:"


def _hang_up(channel: str | None, code: int, reason: str) -> None:
    try:
        if channel is not None:
            hub.disconnect("user", [channel], code, reason)
    except Exception as error:
        # Neither a logout nor a save may fail for that; the next check tells.
        trouble.note(error)


def _logged_out(request: Any = None, user: Any = None, **kwargs: Any) -> None:
    session = getattr(request, "session", None)
    key = getattr(session, "session_key", None)
    if not key or not _is_of_use():
        return
    _hang_up(_session(key), LOGGED_OUT, "logged out")
    if isinstance(session, signed_cookies.SessionStore) and user is not None:
        # Such a session has no name of its own. All of the user's connections go, and
        # those of the browsers that are still logged in come back.
        _hang_up(_found(user), COME_AGAIN, "logged out, perhaps elsewhere")


def _user_saved(instance: Any, using: str | None = None, **kwargs: Any) -> None:
    if not getattr(instance, "is_active", True) and _is_of_use():
        _after_commit(_found(instance), "the account is not active", using)


def _user_deleted(instance: Any, using: str | None = None, **kwargs: Any) -> None:
    if _is_of_use():
        _after_commit(_found(instance), "the account is gone", using)


def _found(user: Any) -> str | None:
    """Return the name under which a user's connections are found, of this tenant."""
    try:
        return _active(str(user.pk))
    except Exception as error:
        trouble.note(error)
        return None


def _after_commit(channel: str | None, reason: str, using: str | None) -> None:
    def act() -> None:
        _hang_up(channel, LOGGED_OUT, reason)

    try:
        transaction.on_commit(act, using=using, robust=True)
    except transaction.TransactionManagementError:
        act()  # the project commits by hand


def _is_of_use() -> bool:
    from . import watching

    return bool(settings.BROKER) or watching.watcher.is_busy()


def listen() -> None:
    """Hear of logouts, and of users who are deactivated or deleted. Idempotent."""
    user_logged_out.connect(_logged_out, dispatch_uid="dwebsocket.rights")
    try:
        users = auth.get_user_model()
    except (ImproperlyConfigured, LookupError):
        return  # a site without users
    post_save.connect(_user_saved, sender=users, dispatch_uid="dwebsocket.rights")
    post_delete.connect(_user_deleted, sender=users, dispatch_uid="dwebsocket.rights")

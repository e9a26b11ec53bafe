"""Whose connection it is, and whether that user may still be connected.

A handshake is let in by a login, and a login ends: the user logs out, is deactivated or
deleted, changes the password, the session expires. ``Rights`` reads that anew, for the
view that asks (``websocket.recheck()``) and for the watcher, one thread (greenlet) for
the whole process: it needs one database connection, and a view that waits, sends or
sleeps need not take part.
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
from django.contrib.sessions.backends import cache as cache_sessions
from django.contrib.sessions.backends import file as file_sessions
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import HttpRequest
from django.utils.crypto import get_random_string, salted_hmac
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.process import databases
from dwebsocket.process.reporting import shown
from dwebsocket.process.trouble import Trouble

__all__ = (
    "COME_AGAIN",
    "LOGGED_OUT",
    "Revoked",
    "Rights",
    "active_channel",
    "hang_up",
    "identify",
    "may_stay",
    "of_tenant",
    "renew",
    "session_channel",
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


def session_channel(key: str) -> str:
    """Return the name under which connections of a session are found."""
    # Names travel to the broker; the key of a session is a secret.
    digest = salted_hmac("dwebsocket.session", key, algorithm="sha256").hexdigest()
    return f"~session:{digest}"


def active_channel(key: str) -> str:
    """Return the name under which connections of an active user are found."""
    # With a colon at the end: a name that ends in * would stand for others' names.
    return f"~active:{of_tenant(key)}:"


class Rights:
    """The login that a connection was opened with, and whether it still holds.

    Args:
        request: The request.
        connection: The engine's connection.
        close: Closes the WebSocket, with a code and a reason.
    """

    __slots__ = (
        "_hash",
        "_key",
        "_login",
        "_was_active",
        "allowed",
        "carried",
        "checked",
        "close",
        "connection",
        "doubted",
        "interval",
        "never",
        "over",
        "request",
        "tried",
        "user",
    )

    def __init__(
        self,
        request: HttpRequest,
        connection: _engine.Connection,
        close: Callable[[int, str], None],
    ) -> None:
        self.request = request
        self.connection = connection
        self.close = close
        #: Whether the view has ended: nobody asks for the login any more.
        self.over = False
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
        """Return the names under which a logout finds the connection."""
        found = []
        if self._key is not None and self._was_active:
            found.append(active_channel(self._key))
        if self._login is not None:
            found.append(session_channel(self.request.session.session_key or ""))
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


def may_stay(rights: Rights) -> bool:
    """Check the login of a connection in the caller's thread; hang up if it has ended.

    If nobody can tell, the connection stays, and the log says so.
    """
    fresh = not databases.in_use.get()
    if not _passes(rights):
        return False
    renew(rights.request, rights.user)
    if fresh:
        databases.rest()
    return True


def _passes(rights: Rights) -> bool:
    try:
        rights.check()
    except Revoked as error:
        hang_up(rights, error)
        return False
    except Exception as error:
        trouble.note(error)
    else:
        trouble.over()
    return True


def hang_up(rights: Rights, error: Revoked) -> None:
    """Close a connection whose login has ended."""
    logger.info("Hung up on connection %d: %s", rights.connection.id, error.reason)
    rights.close(error.code, error.reason)


def of_tenant(name: str) -> str:
    """Return a name that other tenants of the site have as well as this one's alone.

    Users of two tenants may have the same primary key. Which tenant it is, the setting
    ``TENANT`` knows; without it, the name is as it was.

    Raises:
        ConfigurationError: What the setting names did not return a str.
    """
    if settings.TENANT is None:
        return name
    tenant = import_string(settings.TENANT)()
    if not isinstance(tenant, str):
        raise ConfigurationError(
            f"DWEBSOCKET['TENANT'] names {settings.TENANT!r}, which must return the "
            f"tenant's name, a str, not {type(tenant).__name__}"
        )
    # With the length: where one ends and the other begins is nobody's to choose.
    return f"~{len(tenant)}:{tenant}:{name}"


def identify(request: HttpRequest, connection: _engine.Connection) -> None:
    """Make a connection reachable by ``push.to_user()``.

    Looks at ``request.user``: a query where the visitor has a session, none otherwise.
    A site without users is fine, and so is a database that is away: the view decides
    what that means to it.
    """
    if not settings.TRACK_USERS:
        return
    try:
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated and user.pk is not None:
            connection.identify(of_tenant(str(user.pk)))
    except Exception:
        logger.exception(
            "The user of %s could not be found",
            shown(request.path),
            extra={"request": request},
        )

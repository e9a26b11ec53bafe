"""The user of a connection, and whether that user may still be connected.

The handshake is accepted because of a login, and a login can end: the user logs out, is
deactivated or deleted, or changes the password, or the session expires. ``Rights``
reads the login again, for a view that calls ``websocket.recheck()`` and for the
watcher. The watcher is one thread (greenlet) of the process, with one database
connection; it checks connections whose views wait, send or sleep.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

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

#: Close codes of the private range (RFC 6455 section 7.4.2). LOGGED_OUT: the login has
#: ended, and dwebsocket.js does not connect again. COME_AGAIN: only another handshake
#: can show whether the login has ended; dwebsocket.js connects again by itself.
LOGGED_OUT, COME_AGAIN = 4001, 4101

trouble = Trouble(logger, "The logins of open WebSockets could not be checked")


class Revoked(Exception):
    """The login that a connection was opened with has ended.

    Args:
        reason: The close reason, which the peer gets.
        code: The close code.
        doubtful: Whether a check a moment later may find the login valid: a changed
            password is saved before the session that stays logged in with it.
    """

    def __init__(
        self, reason: str, code: int = LOGGED_OUT, *, doubtful: bool = False
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.doubtful = doubtful


class _Peek(dict[str, Any]):
    """A session's data for Django's ``get_user()``, which must not change the session.

    If the session got a new key, the browser would not get the new cookie.
    """

    def flush(self) -> None:
        """Do nothing."""

    def cycle_key(self) -> None:
        """Do nothing."""


def session_channel(key: str) -> str:
    """Return the name under which connections of a session are found."""
    # The broker sees the names, and the key of a session is a secret.
    digest = salted_hmac("dwebsocket.session", key, algorithm="sha256").hexdigest()
    return f"~session:{digest}"


def active_channel(key: str) -> str:
    """Return the name under which connections of an active user are found."""
    # The colon at the end: a name that ends in * would stand for other users' names.
    return f"~active:{of_tenant(key)}:"


class Closable(Protocol):
    """The part of a WebSocket that its rights use."""

    def close(self, code: int, reason: str) -> None:
        """Close the connection with a code and a reason."""


class Rights:
    """The login that a connection was opened with, and whether it still holds.

    Args:
        request: The request.
        connection: The engine's connection.
        websocket: The WebSocket, to be closed when the login has ended.
    """

    __slots__ = (
        "_followed",
        "_hash",
        "_key",
        "_login",
        "_was_active",
        "allowed",
        "carried",
        "checked",
        "connection",
        "doubted",
        "interval",
        "never",
        "over",
        "request",
        "tried",
        "user",
        "websocket",
    )

    def __init__(
        self,
        request: HttpRequest,
        connection: _engine.Connection,
        websocket: Closable,
    ) -> None:
        self.request = request
        self.connection = connection
        self.websocket = websocket
        #: Whether the view has ended; the login is not checked any more then.
        self.over = False
        #: Seconds between two checks of the watcher; None: no checks.
        self.interval: float | None = None
        #: Whether a ``Session`` must not start checks (RECHECK_INTERVAL is 0).
        self.never = False
        #: State that the project's hooks carry over to threads other than the view's.
        self.carried: Sequence[Any] = ()
        #: A further check by the application (the ``allowed`` of ``watch()``).
        self.allowed: Callable[[], bool] | None = None
        #: Whether the watcher's latest check has found a doubtful end of the login.
        self.doubted = False
        #: The times (monotonic) of the latest check and of the latest check that got
        #: an answer; 0 before the first.
        self.tried = self.checked = 0.0
        #: The user as the latest check has read it; None: a guest, or no check yet.
        self.user: Any = None
        self._key: str | None = None
        self._login: str | None = None
        self._hash: str | None = None
        self._was_active = False
        #: Whether a logout finds the connection.
        self._followed = False

    def remember(self) -> None:
        """Note the user of the handshake; each check calls this until it succeeds."""
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

    def follow(self) -> None:
        """Have a logout find the connection, once checks have begun and know the user.

        The user may be unknown at first: the database was away at the handshake.
        """
        if self._followed or self.interval is None or not self.checked:
            return
        for channel in self.channels():
            self.connection.identify(channel)
        self._followed = True

    def check(self) -> None:
        """Read the user again, and check that the login still holds.

        Raises:
            Revoked: The login has ended.
            Exception: The check cannot be made now: the database is away, say.
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
        self.follow()

    def _is_allowed(self) -> bool:
        try:
            return self.allowed is None or bool(self.allowed())
        except PermissionDenied:
            return False

    def _user(self) -> Any:
        logged_in = self._of_session() if self._login is not None else None
        if logged_in is not None and str(logged_in.pk) == self._key:
            return logged_in
        # The user does not come from the session: a token was used, or an administrator
        # looks at the site as another user.
        user = self._read()
        changed = self._hash is not None and user.get_session_auth_hash() != self._hash
        if changed:
            raise Revoked("the password has changed")
        return user

    def _read(self) -> Any:
        """Read the user from the database; return a user that is no model as it is."""
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
        """Return why the session has no login any more.

        A user who changes the password stays logged in, in a session with a new key.
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
    """Return a session object with this key, not yet loaded from the store."""
    try:
        return type(session)(session_key=key)
    except TypeError:
        # A session engine of the project's own needs more arguments than the key.
        fresh = copy.copy(session)
        fresh.__dict__.pop("_session_cache", None)
        return fresh


def _make_sure(store: Any, key: str) -> None:
    """Make sure that the store works, so that a session it lacks is really gone.

    Raises:
        OSError: The store does not work.
    """
    kind = type(store)
    if issubclass(kind, cache_sessions.SessionStore):
        # A cache that cannot be reached looks like an empty one.
        probe = f"dwebsocket.{get_random_string(12)}"
        store._cache.set(probe, probe, 10)
        if store._cache.get(probe) != probe:
            raise OSError("the cache of the sessions keeps nothing")
        store._cache.delete(probe)
    elif issubclass(kind, file_sessions.SessionStore):
        # A missing directory, or a lack of descriptors, looks like a missing file.
        os.stat(store.storage_path)
        with contextlib.suppress(FileNotFoundError), open(store._key_to_file(key)):
            pass


def renew(request: Any, user: Any) -> None:
    """Put a user that was read again into a request.

    Attributes that middleware has set on the old user (a second factor, say) are taken
    over; values that Django has cached there (permissions, related rows) are not.
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
    """Check a connection's login in the caller's thread; hang up if it has ended.

    If the check cannot be made, the connection stays, and the failure is logged.
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
    rights.websocket.close(error.code, error.reason)


def of_tenant(name: str) -> str:
    """Return a name with the current tenant in it, which is unique in the site.

    Users of two tenants may have the same primary key. The setting ``TENANT`` names a
    function that returns the tenant; without the setting, the name is unchanged.

    Raises:
        ConfigurationError: The function did not return a str.
    """
    if settings.TENANT is None:
        return name
    tenant = import_string(settings.TENANT)()
    if not isinstance(tenant, str):
        raise ConfigurationError(
            f"DWEBSOCKET['TENANT'] names {settings.TENANT!r}, which must return the "
            f"tenant's name, a str, not {type(tenant).__name__}"
        )
    # The length makes the border between tenant and name unambiguous.
    return f"~{len(tenant)}:{tenant}:{name}"


def identify(request: HttpRequest, connection: _engine.Connection) -> None:
    """Make a connection reachable by ``push.to_user()``.

    This reads ``request.user``, which is one query if the visitor has a session, and no
    query otherwise. If the site has no users, nothing happens; if the database is away,
    the failure is logged and the view runs all the same.
    """
    if not settings.TRACK_USERS:
        return
    try:
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated and user.pk is not None:
            connection.identify(of_tenant(str(user.pk)))
    except Exception:
        logger.exception(
            "The user of %s could not be read",
            shown(request.path),
            extra={"request": request},
        )

"""The settings: one dict ``DWEBSOCKET``, read when needed and never at import.

``override_settings`` works: after a change of the setting, all values are read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.core.signals import setting_changed
from django.views.decorators.debug import sensitive_variables

from dwebsocket import _engine
from dwebsocket.exceptions import ConfigurationError

from . import group_options, origins
from .arguments import shown
from .keys import COUNT, SECONDS, Key, integer, nearest, one_of, optional, positive

__all__ = (
    "DEFAULTS",
    "OVERFLOW",
    "Profile",
    "acceptable",
    "problems",
    "profile",
    "settings",
)

#: The largest numbers that the engine can count to: for bytes and messages, and for the
#: empty frames of one message.
_MOST, _MOST_FRAGMENTS = 1 << 62, 0xFFFF_FFFF

DIALECTS = ("classic", "modern")
COMPRESSION = ("shared", "dedicated", "off")
OVERFLOW = ("auto", "close", "drop_oldest", "drop_newest", "block")


def _strings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(item, str) for item in value
    )


def _origins(value: Any) -> bool:
    return _strings(value) and not any(map(origins.problem, value))


def _origins_detail(value: Any) -> str:
    if not _strings(value):
        return ""
    wrong = "; ".join(filter(None, map(origins.problem, value)))
    # An entry with "@" may contain a password: then the value is left out.
    shown = "" if any("@" in item for item in value) else f", not {value!r}"
    return f"{shown}: {wrong}"


def _broker(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not _broker_problem(value))


def _broker_problem(url: str) -> str:
    """Return what is wrong with a broker's URL, without its text: it has a password."""
    try:
        _engine.broker_check(url)
    except ValueError as error:
        return str(error)
    return ""


def _broker_detail(value: Any) -> str:
    if not isinstance(value, str):
        return f", not of the type {type(value).__name__}"
    return f": {_broker_problem(value)}"


KEYS: dict[str, Key] = {
    "DIALECT": Key(None, one_of(None, *DIALECTS), f"None or one of {DIALECTS}"),
    "ALLOWED_ORIGINS": Key(
        (),
        _origins,
        "a list of origins, such as ['https://example.com'] or ['*']",
        detail=_origins_detail,
    ),
    "OVERFLOW": Key("auto", one_of(*OVERFLOW), f"one of {OVERFLOW}", engine=True),
    "SEND_TIMEOUT": Key(30.0, positive, SECONDS),
    "GONE_TIMEOUT": Key(60.0, optional(positive), f"None or {SECONDS}"),
    "CANCEL_ON_DISCONNECT": Key(
        False, lambda value: type(value) is bool, "True or False"
    ),
    "ACCEPT_TIMEOUT": Key(20.0, positive, SECONDS),
    "MAX_MESSAGE_SIZE": Key(1_048_576, integer(1), COUNT, engine=True),
    "MAX_FRAME_SIZE": Key(None, optional(integer(1)), f"None or {COUNT}", engine=True),
    "MAX_FRAGMENTS": Key(16_384, integer(1), COUNT, engine=True),
    "PING_INTERVAL": Key(20.0, optional(positive), f"None or {SECONDS}", engine=True),
    "PING_TIMEOUT": Key(20.0, positive, SECONDS, engine=True),
    "HANDSHAKE_TIMEOUT": Key(10.0, positive, SECONDS, engine=True),
    "CLOSE_TIMEOUT": Key(10.0, positive, SECONDS, engine=True),
    "IDLE_TIMEOUT": Key(None, optional(positive), f"None or {SECONDS}", engine=True),
    "INBOX_MESSAGES": Key(256, integer(1), COUNT, engine=True),
    "INBOX_BYTES": Key(1_048_576, integer(1), COUNT, engine=True),
    "OUTBOX_MESSAGES": Key(4_096, integer(1), COUNT, engine=True),
    "OUTBOX_BYTES": Key(4_194_304, integer(1), COUNT, engine=True),
    "COMPRESSION": Key(
        "shared",
        lambda value: value is True or value is False or value in COMPRESSION,
        f"True, False or one of {COMPRESSION}",
        engine=True,
    ),
    "COMPRESSION_THRESHOLD": Key(
        256, integer(0), "a whole number of at least 0", engine=True
    ),
    "COMPRESSION_LEVEL": Key(
        1,
        lambda value: type(value) is int and 1 <= value <= 9,
        "a whole number from 1 (fastest) to 9 (smallest)",
        engine=True,
    ),
    "MAX_CONNECTIONS": Key(
        None, optional(integer(1)), f"None or {COUNT}", scoped=False
    ),
    "SHUTDOWN_SPREAD": Key(
        6.0,
        lambda value: value == 0 or positive(value),
        "a number of seconds, 0 or more",
        scoped=False,
    ),
    "SHUTDOWN_TIMEOUT": Key(
        5.0,
        lambda value: value == 0 or positive(value),
        "a number of seconds, 0 or more",
        scoped=False,
    ),
    "THREAD_STACK_SIZE": Key(
        # CPython 3.13 allows recursion of 10,000 levels in C, whatever the stack's
        # size, and a level takes up to 360 bytes (repr of an OrderedDict): 3.5 MiB.
        # Only touched pages of a stack take memory, and the engine keeps huge pages
        # off the stack.
        6_225_920,
        lambda value: value == 0 or (integer(65_536)(value) and value <= 1 << 30),
        "0 (the system's default) or a number of bytes from 65536 to 1073741824",
        scoped=False,
    ),
    "HANDLER_THREADS": Key(
        32,
        lambda value: integer(1)(value) and value <= 10_000,
        "a whole number from 1 to 10000",
        scoped=False,
    ),
    "ACCEPT_ALL": Key(False, lambda value: type(value) is bool, "a bool", scoped=False),
    "FACTORY_CLASS": Key(
        "dwebsocket.backends.default.factory.WebSocketFactory",
        lambda value: isinstance(value, str) and "." in value,
        "the dotted path of a WebSocketFactory class",
        scoped=False,
    ),
    "BROKER": Key(
        None,
        _broker,
        "None or a URL such as 'redis://localhost:6379/0' or 'nats://localhost'",
        scoped=False,
        detail=_broker_detail,
    ),
    "BROKER_PREFIX": Key(
        "dwebsocket",
        lambda value: isinstance(value, str) and value.replace("-", "_").isidentifier(),
        "a name of letters, digits, - and _",
        scoped=False,
    ),
    "BROKER_TIMEOUT": Key(2.0, positive, SECONDS, scoped=False),
    "GROUPS": Key(
        {},
        lambda value: not group_options.problems(value),
        "a dict of groups' names (or 'prefix*') and their options",
        scoped=False,
    ),
    "CHAT": Key(
        {},
        lambda value: isinstance(value, Mapping),
        "a dict of the settings of contrib.chat",
        scoped=False,
    ),
    "PUSH": Key(
        {},
        lambda value: isinstance(value, Mapping),
        "a dict of the settings of contrib.push",
        scoped=False,
    ),
    "CONTEXT_HOOKS": Key(
        (), _strings, "a list of dotted paths of functions", scoped=False
    ),
    "RECHECK_INTERVAL": Key(
        None,
        lambda value: value is not False and (value in (None, 0) or positive(value)),
        "None, 0 (never) or a number of seconds",
    ),
    "USER_MAX_AGE": Key(
        5.0,
        lambda value: value is not False and (value == 0 or positive(value)),
        "a number of seconds, 0 or more",
        scoped=False,
    ),
    "TENANT": Key(
        None,
        optional(lambda value: isinstance(value, str) and "." in value),
        "None or the dotted path of a function that returns the tenant's name",
        scoped=False,
    ),
    "TRACK_USERS": Key(True, lambda value: type(value) is bool, "a bool", scoped=False),
    "MONITOR_DIRECTORY": Key(
        None,
        lambda value: (
            value is None
            or value is False
            or (isinstance(value, str | os.PathLike) and os.path.isabs(value))
        ),
        "None, False or the absolute path of a directory",
        scoped=False,
    ),
    "SERVERS": Key(
        (), _strings, "a list of dotted paths of socket finders", scoped=False
    ),
}

DEFAULTS: dict[str, Any] = {name: key.default for name, key in KEYS.items()}

#: Settings of the old package that have a key in the dict now.
OLD_NAMES = {
    "WEBSOCKET_ACCEPT_ALL": "ACCEPT_ALL",
    "WEBSOCKET_FACTORY_CLASS": "FACTORY_CLASS",
}

_SCOPED = {name.lower(): name for name, key in KEYS.items() if key.scoped}


# Django's error reports show the values of variables; these may contain a password.
@sensitive_variables("values", "value")
def problems(values: object) -> list[tuple[str, str]]:
    """Return what is wrong with a ``DWEBSOCKET`` dict, as pairs of key and message."""
    if not isinstance(values, Mapping):
        return [("", f"DWEBSOCKET must be a dict, not {type(values).__name__}.")]
    found = []
    for name, value in values.items():
        key = KEYS.get(name)
        if key is None:
            hint = nearest(str(name).upper(), KEYS)
            found.append((name, f"DWEBSOCKET has no setting {shown(name)}.{hint}"))
        elif name == "GROUPS":
            found += [(name, message) for message in group_options.problems(value)]
        elif message := key.problem(f"DWEBSOCKET[{name!r}]", value):
            found.append((name, message))
    return found


def acceptable(name: str) -> Any:
    """Return a setting's value; the default if the project's value is not valid.

    System checks use this: they go on when another setting is wrong.
    """
    from django.conf import settings as django_settings

    key = KEYS[name]
    given = getattr(django_settings, "DWEBSOCKET", {})
    values = [given.get(name, key.default)] if isinstance(given, Mapping) else []
    if not (values and name in given):
        old = [old for old, new in OLD_NAMES.items() if new == name]
        values = [getattr(django_settings, one, key.default) for one in old] or values
    return next((value for value in values if key.valid(value)), key.default)


class Settings:
    """The project's values over the defaults, as attributes; read at first use."""

    def __init__(self) -> None:
        self._values: dict[str, Any] | None = None

    @sensitive_variables("given", "values")
    def _load(self) -> dict[str, Any]:
        from django.conf import settings as django_settings

        given = getattr(django_settings, "DWEBSOCKET", {})
        wrong = problems(given)
        if wrong:
            raise ConfigurationError(" ".join(message for _, message in wrong))
        values = dict(DEFAULTS)
        for old, name in OLD_NAMES.items():
            if hasattr(django_settings, old):
                values[name] = getattr(django_settings, old)
        values.update(given)
        self._values = values
        return values

    def __getattr__(self, name: str) -> Any:
        values = self._values
        if values is None:
            if name not in KEYS:
                raise AttributeError(name)
            values = self._load()
        try:
            return values[name]
        except KeyError:
            raise AttributeError(name) from None

    def forget(self) -> None:
        """Drop the values that were read; the next use reads them again."""
        self._values = None
        _profiles.clear()


class Profile(NamedTuple):
    """The settings of one decorated view, resolved.

    Args:
        modern: Whether ``wait()`` and ``send()`` speak the modern dialect; False: the
            classic one.
        options: The engine's options.
        overflow: What happens to a message when the outbox is full.
        send_timeout: Seconds for which a send waits for room in the outbox.
        gone_timeout: Seconds after which a view is ended that goes on although its
            peer has gone; None: never.
        allowed_origins: Origins allowed beside the site's own.
        recheck_interval: Seconds between two checks of the user's login; 0: never,
            None: never, unless the view asks for the checks.
        cancel_on_disconnect: Whether an asynchronous view is cancelled when its peer
            has gone.
        accept_timeout: Seconds within which a view with ``accept="manual"`` decides.
    """

    modern: bool
    options: _engine.Options
    overflow: str
    send_timeout: float
    gone_timeout: float | None
    allowed_origins: tuple[str, ...]
    recheck_interval: float | None = None
    cancel_on_disconnect: bool = False
    accept_timeout: float = 20.0


settings = Settings()
_profiles: dict[tuple[str, tuple[tuple[str, Any], ...]], Profile] = {}


def check_overrides(
    overrides: Mapping[str, Any], others: Iterable[str] = ()
) -> tuple[tuple[str, Any], ...]:
    """Return a decorator's arguments in a form that can be hashed.

    Args:
        overrides: The arguments.
        others: The names of the decorator's arguments that are no settings.

    Raises:
        ConfigurationError: An argument is unknown or out of its range.
    """
    for name, value in overrides.items():
        if name not in _SCOPED:
            hint = nearest(name.lower(), (*_SCOPED, *others))
            if name.upper() in KEYS and name.lower() not in _SCOPED:
                hint = f" DWEBSOCKET[{name.upper()!r}] applies to all views."
            raise ConfigurationError(f"There is no argument {name!r}.{hint}")
        message = KEYS[_SCOPED[name]].problem(name, value)
        if message:
            raise ConfigurationError(message)
    return tuple(
        (name, tuple(value) if isinstance(value, list) else value)
        for name, value in sorted(overrides.items())
    )


def profile(dialect: str, overrides: tuple[tuple[str, Any], ...] = ()) -> Profile:
    """Return the settings for one decorator, from a cache.

    Args:
        dialect: The decorator's own dialect; the decorator's argument and the project's
            setting take precedence over it.
        overrides: The decorator's arguments, as :func:`check_overrides` returned them.
    """
    found = _profiles.get((dialect, overrides))
    if found is None:
        found = _profiles[dialect, overrides] = _build(dialect, dict(overrides))
    return found


def _within(name: str, value: Any) -> Any:
    """Return a setting's value, cut to the largest number that the engine can take."""
    if type(value) is not int:
        return value
    return min(value, _MOST_FRAGMENTS if name == "MAX_FRAGMENTS" else _MOST)


def _build(dialect: str, overrides: dict[str, Any]) -> Profile:
    values = {
        name: overrides.get(name.lower(), getattr(settings, name)) for name in KEYS
    }
    modern = (values["DIALECT"] or dialect) == "modern"
    engine = {
        name.lower(): _within(name, values[name])
        for name, key in KEYS.items()
        if key.engine
    }
    compression = engine["compression"]
    if isinstance(compression, bool):
        engine["compression"] = "shared" if compression else "off"
    return Profile(
        modern=modern,
        options=_engine.Options(
            text_as_bytes=not modern, validate_utf8=modern, **engine
        ),
        overflow=values["OVERFLOW"],
        send_timeout=float(values["SEND_TIMEOUT"]),
        gone_timeout=values["GONE_TIMEOUT"],
        allowed_origins=tuple(values["ALLOWED_ORIGINS"]),
        recheck_interval=values["RECHECK_INTERVAL"],
        cancel_on_disconnect=values["CANCEL_ON_DISCONNECT"],
        accept_timeout=float(values["ACCEPT_TIMEOUT"]),
    )


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "DWEBSOCKET" or setting in OLD_NAMES:
        settings.forget()


setting_changed.connect(_forget, dispatch_uid="dwebsocket.conf")

"""The apps' own dicts inside ``DWEBSOCKET``, such as ``DWEBSOCKET["CHAT"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.signals import setting_changed
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from dwebsocket.exceptions import ConfigurationError

from .arguments import is_secret, shown
from .keys import SECONDS, Key, integer, nearest, positive
from .values import acceptable, settings

__all__ = (
    "Section",
    "between",
    "count",
    "installed",
    "path",
    "seconds",
    "socket_address",
)


class Section:
    """One app's settings over their defaults, as attributes; read at first use.

    Args:
        name: The app's key in ``DWEBSOCKET``.
        keys: The app's settings by name.
    """

    def __init__(self, name: str, keys: Mapping[str, Key]) -> None:
        self._name = name
        self.keys = keys
        self._values: dict[str, Any] | None = None
        setting_changed.connect(self._forget, weak=False)

    def __getattr__(self, name: str) -> Any:
        if name not in self.keys:
            raise AttributeError(name)
        if self._values is None:
            found = self.problems()
            if found:
                raise ConfigurationError(" ".join(message for _, message in found))
            defaults = {name: key.default for name, key in self.keys.items()}
            self._values = {**defaults, **getattr(settings, self._name)}
        return self._values[name]

    def problems(self) -> list[tuple[str, str]]:
        """Return what is wrong in the app's dict, as pairs of key and message."""
        found = []
        for name, value in acceptable(self._name).items():
            where = f"DWEBSOCKET[{self._name!r}]"
            key = self.keys.get(name)
            if key is None:
                hint = nearest(str(name).upper(), self.keys)
                found.append((name, f"{where} has no setting {shown(name)}.{hint}"))
            elif message := key.problem(f"{where}[{name!r}]", value):
                found.append((name, message))
        return found

    def acceptable(self, name: str) -> Any:
        """Return a setting's value; the default if the project's value is not valid."""
        key = self.keys[name]
        value = acceptable(self._name).get(name, key.default)
        return value if key.valid(value) else key.default

    def check(self, code: str) -> list[CheckMessage]:
        """Return what is wrong in the app's dict, as messages of Django's checks.

        Args:
            code: The id of these messages.
        """
        return [Error(message, obj=name, id=code) for name, message in self.problems()]

    def _forget(self, *, setting: str, **kwargs: Any) -> None:
        if setting == "DWEBSOCKET":
            self._values = None


def installed(app: str, code: str) -> list[CheckMessage]:
    """Return an error if ``dwebsocket`` itself is not in ``INSTALLED_APPS``.

    Pages of the contrib apps need the script that ``dwebsocket`` contains.

    Args:
        app: The app whose pages need the script.
        code: The id of the error.
    """
    if apps.is_installed("dwebsocket"):
        return []
    return [
        Error(
            f"{app} is in INSTALLED_APPS without 'dwebsocket': its pages do not find "
            "the script dwebsocket/dwebsocket.js, and do nothing.",
            hint="Add 'dwebsocket' to INSTALLED_APPS.",
            id=code,
        )
    ]


def socket_address(app: str, request: Any) -> str:
    """Return the address of an app's WebSocket, in the URL namespace of the page.

    Args:
        app: "chat" or "push".
        request: The page's request.

    Raises:
        NoReverseMatch: The project's URLs do not include the app's.
    """
    match = getattr(request, "resolver_match", None)
    try:
        return reverse(
            f"dwebsocket_{app}:socket", current_app=getattr(match, "namespace", None)
        )
    except NoReverseMatch as error:
        raise NoReverseMatch(
            f"{error}. The URLs of this project must include those of the app: "
            f"path('{app}/', include('dwebsocket.contrib.{app}.urls'))"
        ) from error


def count(default: int, low: int = 1) -> Key:
    """Return a key for whole numbers."""
    return Key(default, integer(low), f"a whole number of at least {low}")


def seconds(default: float | None, *, optional: bool = False) -> Key:
    """Return a key for a length of time, or None."""
    return Key(
        default,
        lambda value: (value is None and optional) or positive(value),
        f"{'None or ' if optional else ''}{SECONDS}",
    )


def between(default: float, low: float, high: float, unit: str) -> Key:
    """Return a key for a number within limits."""
    return Key(
        default,
        lambda value: type(value) in (int, float) and low <= value <= high,
        f"a number of {unit} from {low:g} to {high:g}",
    )


def path(default: str) -> Key:
    """Return a key for a dotted path."""
    return Key(default, lambda value: isinstance(value, str), "a dotted path")


def importable(where: str, value: str, check: Callable[[Any], bool], what: str) -> str:
    """Return what is wrong with a dotted path, or "".

    Args:
        where: The setting.
        value: The path.
        check: Returns whether the imported object is of the right kind.
        what: The right kind, in words.
    """
    try:
        found = import_string(value)
    except Exception as error:
        # The module may raise anything; a path such as ".name" is a ValueError.
        said = "" if is_secret(value) else str(error)
        return f"{where} names {shown(value)}: {said or 'not a dotted path'}"
    return "" if check(found) else f"{where} must name {what}, not {value!r}."

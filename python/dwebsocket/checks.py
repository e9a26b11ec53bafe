"""System checks: ``manage.py check`` names what is wrong with the settings.

dwebsocket.E001  DWEBSOCKET is not a dict, or has an unknown key.
dwebsocket.E002  A value in DWEBSOCKET, or an old setting, is not acceptable.
dwebsocket.E003  A class or function named in the settings cannot be imported.
dwebsocket.W001  The middleware named in MIDDLEWARE_CLASSES has no effect.
dwebsocket.W002  The middleware comes before one that looks at views.
dwebsocket.W003  A page of any origin may open WebSockets in the visitor's name.
dwebsocket.W004  Several workers without a broker: groups stop at the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

from .conf import KEYS, OLD_NAMES, problems, settings

__all__ = ("check_middleware", "check_settings", "later_view_middleware")

MIDDLEWARE = "dwebsocket.middleware.WebSocketMiddleware"


def _check_values() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for key, message in problems(getattr(django_settings, "DWEBSOCKET", {})):
        found.append(
            Error(message, id=f"dwebsocket.E00{2 if key in KEYS else 1}", obj=key)
        )
    for old, name in OLD_NAMES.items():
        value = getattr(django_settings, old, KEYS[name].default)
        if not KEYS[name].valid(value):
            message = f"{old} must be {KEYS[name].expected}, not {value!r}."
            found.append(Error(message, id="dwebsocket.E002", obj=old))
    return found


@register(Tags.compatibility)
def check_settings(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the values in ``DWEBSOCKET``, and what they name."""
    found = _check_values()
    if found:
        return found
    for name, paths in (
        ("FACTORY_CLASS", [settings.FACTORY_CLASS]),
        ("SERVERS", settings.SERVERS),
        ("CONTEXT_HOOKS", settings.CONTEXT_HOOKS),
    ):
        for path in paths:
            try:
                import_string(path)
            except ImportError as error:
                message = f"DWEBSOCKET[{name!r}] names {path!r}: {error}"
                found.append(Error(message, id="dwebsocket.E003"))
    return found


@register(Tags.security, deploy=True)
def check_origins(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn of an Origin check that is off."""
    given = getattr(django_settings, "DWEBSOCKET", {})
    if isinstance(given, dict) and "*" in (given.get("ALLOWED_ORIGINS") or ()):
        return [
            Warning(
                "DWEBSOCKET['ALLOWED_ORIGINS'] has '*': any web page may open "
                "WebSockets here with its visitor's cookies.",
                hint="Name the origins that may.",
                id="dwebsocket.W003",
            )
        ]
    return []


def workers() -> int:
    """Return how many worker processes the server runs, as far as can be known."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None:
        return int(getattr(uwsgi, "numproc", 1))
    words = sys.argv if "gunicorn" in sys.argv[0] else []
    words = [*words, *os.environ.get("GUNICORN_CMD_ARGS", "").split()]
    for place, word in enumerate(words, 1):
        name, _, value = word.partition("=")
        if name in ("-w", "--workers"):
            value = value or "".join(words[place : place + 1])
            return int(value) if value.isdigit() else 1
    value = os.environ.get("WEB_CONCURRENCY", "")
    return int(value) if value.isdigit() else 1


@register(Tags.compatibility)
def check_broker(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn of several workers that do not hear of one another."""
    given = getattr(django_settings, "DWEBSOCKET", {})
    if not isinstance(given, dict) or given.get("BROKER") or workers() < 2:
        return []
    return [
        Warning(
            f"There are {workers()} worker processes and no broker: groups, push and "
            "presence stop at each of them.",
            hint="Set DWEBSOCKET['BROKER'], e.g. 'redis://localhost:6379/0' or "
            "'nats://localhost', or run one worker.",
            id="dwebsocket.W004",
        )
    ]


def _looks_at_views(path: str) -> bool:
    try:
        return hasattr(import_string(path), "process_view")
    except ImportError:
        # Django says so itself when it loads the middleware.
        return False


def later_view_middleware() -> list[str]:
    """Return the middleware after this package's own that looks at views."""
    listed = list(getattr(django_settings, "MIDDLEWARE", None) or ())
    if MIDDLEWARE not in listed:
        return []
    after = listed[listed.index(MIDDLEWARE) + 1 :]
    return [path for path in after if _looks_at_views(path)]


@register(Tags.compatibility)
def check_middleware(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check where the middleware stands, in projects that use it."""
    if MIDDLEWARE in (getattr(django_settings, "MIDDLEWARE_CLASSES", None) or ()):
        hint = "The decorators need no middleware. Remove it, or list it in MIDDLEWARE."
        return [
            Warning(
                "Django has not read MIDDLEWARE_CLASSES since 2.0.",
                hint=hint,
                id="dwebsocket.W001",
            )
        ]
    after = later_view_middleware()
    if not after:
        return []
    return [
        Warning(
            f"{MIDDLEWARE} stands before {', '.join(after)}, which must look at a view "
            "before it runs.",
            hint="Put WebSocketMiddleware at the end of MIDDLEWARE.",
            id="dwebsocket.W002",
        )
    ]

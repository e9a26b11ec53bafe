"""System checks: ``manage.py check`` reports mistakes in the settings.

dwebsocket.E001  DWEBSOCKET is not a dict, or has an unknown key.
dwebsocket.E002  A value in DWEBSOCKET, or an old setting, is not acceptable.
dwebsocket.E003  A class or function that the settings name cannot be imported.
dwebsocket.W001  The middleware named in MIDDLEWARE_CLASSES has no effect.
dwebsocket.W002  The middleware is listed before another one that has process_view.
dwebsocket.W003  A page of any origin may open WebSockets in the visitor's name.
dwebsocket.W004  Several workers without a broker: groups stop at the process.
dwebsocket.W005  An allowed origin begins with ws: or wss:; no page has such an origin.
dwebsocket.W006  The old package is installed, too, and has the same module.
dwebsocket.W007  "daphne" in INSTALLED_APPS, and an application without WebSockets.
dwebsocket.W008  A setting such as DWEBSOCKET_BROKER or DWEBSOCKETS has no effect.
dwebsocket.W009  A stop may take longer than servers give their workers.
dwebsocket.W010  WebSockets open on every view.
dwebsocket.W011  Clients that have vanished keep their connections and views.
dwebsocket.W012  A few clients can make a process hold gigabytes.
dwebsocket.W013  The broker is on another machine, without a password.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from types import FrameType
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.checks.registry import CheckRegistry
from django.utils.module_loading import import_string

from .conf import KEYS, OLD_NAMES, acceptable, dangers, problems
from .conf.arguments import is_secret, shown
from .servers.workers import workers

__all__ = ("check_middleware", "check_settings", "install", "later_view_middleware")

MIDDLEWARE = "dwebsocket.middleware.WebSocketMiddleware"


#: Likely misspellings of DWEBSOCKET.
_MISTAKEN = ("DWEBSOCKETS", "DWEBSOCKET_RS", "DWEBSOCKET_SETTINGS", "DWEB_SOCKET")


def _check_values() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for key, message in problems(getattr(django_settings, "DWEBSOCKET", {})):
        found.append(
            # No key: the whole setting is wrong.
            Error(
                message, id=f"dwebsocket.E00{2 if key in KEYS else 1}", obj=key or None
            )
        )
    for old, name in OLD_NAMES.items():
        value = getattr(django_settings, old, KEYS[name].default)
        message = KEYS[name].problem(old, value)
        if message:
            found.append(Error(message, id="dwebsocket.E002", obj=old))
    return found


def _check_paths() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name, paths in (
        ("FACTORY_CLASS", [acceptable("FACTORY_CLASS")]),
        ("SERVERS", acceptable("SERVERS")),
        ("CONTEXT_HOOKS", acceptable("CONTEXT_HOOKS")),
        ("TENANT", filter(None, [acceptable("TENANT")])),
    ):
        for path in paths:
            problem = ""
            try:
                if not callable(import_string(path)):
                    problem = "not callable"
            except Exception as error:
                # The module may raise anything; a path such as ".name" is a ValueError.
                problem = "not a dotted path"
                if not is_secret(path):
                    problem = f"{type(error).__name__}: {error}"
            if problem:
                message = f"DWEBSOCKET[{name!r}] names {shown(path)}: {problem}"
                found.append(Error(message, id="dwebsocket.E003"))
    return found


def check_settings(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the values in ``DWEBSOCKET``, and the classes and functions they name."""
    return [*_check_values(), *_check_paths(), *_check_schemes(), *_check_names()]


def _check_names() -> list[CheckMessage]:
    """Warn of separate settings that belong into the dict, or have a misspelt name."""
    given = getattr(django_settings, "DWEBSOCKET", {})
    if not isinstance(given, Mapping):
        given = {}
    names = {f"DWEBSOCKET_{key}": key for key in KEYS if key not in given}
    return [
        Warning(
            f"The setting {name} has no effect.",
            hint="Write DWEBSOCKET = {...}."
            if name not in names
            else f"Write DWEBSOCKET = {{{names[name]!r}: ...}}.",
            id="dwebsocket.W008",
        )
        for name in (*_MISTAKEN, *names)
        if hasattr(django_settings, name)
    ]


def _check_schemes() -> list[CheckMessage]:
    listed = acceptable("ALLOWED_ORIGINS")
    return [
        Warning(
            f"DWEBSOCKET['ALLOWED_ORIGINS'] has {entry!r}: no page has this origin.",
            hint="An origin is a page's address: write https: for wss:, http: for ws:.",
            id="dwebsocket.W005",
        )
        for entry in listed
        if isinstance(entry, str) and entry.lower().startswith(("ws://", "wss://"))
    ]


def check_installation(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn of installed packages and apps that conflict with this package."""
    found: list[CheckMessage] = []
    try:
        old = metadata.version("dwebsocket")
    except metadata.PackageNotFoundError:
        pass
    else:
        found.append(
            Warning(
                f"dwebsocket {old}, the old package, is installed, too. Both contain "
                "the module dwebsocket: uninstalling one removes files of the other.",
                hint="pip uninstall dwebsocket dwebsocket-rs, then "
                "pip install dwebsocket-rs.",
                id="dwebsocket.W006",
            )
        )
    if apps.is_installed("daphne") and not _serves_by_asgi():
        found.append(
            Warning(
                "'daphne' in INSTALLED_APPS makes runserver an ASGI server, and no "
                "WebSocket reaches views through the application of ASGI_APPLICATION.",
                hint="Let the application be "
                "dwebsocket.asgi.application(get_asgi_application()), or remove "
                "'daphne' from INSTALLED_APPS.",
                id="dwebsocket.W007",
            )
        )
    return found


def _serves_by_asgi() -> bool:
    """Return whether the site's ASGI application serves WebSockets of this package."""
    try:
        found = import_string(getattr(django_settings, "ASGI_APPLICATION", ""))
    except Exception:
        # runserver will say what is wrong with it.
        return False
    return bool(getattr(found, "serves_websockets", False))


def check_origins(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn of settings that switch the Origin check off."""
    given = getattr(django_settings, "DWEBSOCKET", {})
    listed = given.get("ALLOWED_ORIGINS") if isinstance(given, Mapping) else ()
    if not isinstance(listed, list | tuple):
        return []
    return [
        Warning(
            f"DWEBSOCKET['ALLOWED_ORIGINS'] has {entry!r}: any web page may open "
            f"WebSockets here with its visitor's cookies{how}.",
            hint="List the origins that may open WebSockets.",
            id="dwebsocket.W003",
        )
        for entry, how in (("*", ""), ("null", ", from a sandboxed frame"))
        if entry in listed
    ]


def check_dangers(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn of settings that are dangerous in production."""
    return [Warning(danger.message, danger.hint, id=danger.id) for danger in dangers()]


def check_broker(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn of several workers without a broker between them."""
    given = getattr(django_settings, "DWEBSOCKET", {})
    # Another check reports a broker that cannot be used as an error.
    if not isinstance(given, Mapping) or given.get("BROKER") or workers() < 2:
        return []
    return [
        Warning(
            f"There are {workers()} worker processes and no broker: groups, push and "
            "presence do not reach from one process to another.",
            hint="Set DWEBSOCKET['BROKER'], e.g. 'redis://localhost:6379/0' or "
            "'nats://localhost', or run one worker.",
            id="dwebsocket.W004",
        )
    ]


def _looks_at_views(path: str) -> bool:
    try:
        return hasattr(import_string(path), "process_view")
    except Exception:
        # Django reports this itself when it loads the middleware.
        return False


def later_view_middleware() -> list[str]:
    """Return the middleware with ``process_view`` that comes after this package's."""
    listed = list(getattr(django_settings, "MIDDLEWARE", None) or ())
    if MIDDLEWARE not in listed:
        return []
    after = listed[listed.index(MIDDLEWARE) + 1 :]
    return [path for path in after if _looks_at_views(path)]


def check_middleware(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the place of the middleware in the list, in projects that use it."""
    found: list[CheckMessage] = []
    if MIDDLEWARE in (getattr(django_settings, "MIDDLEWARE_CLASSES", None) or ()):
        hint = "The decorators need no middleware. Remove it, or list it in MIDDLEWARE."
        found.append(
            Warning(
                "Django has not read MIDDLEWARE_CLASSES since 2.0.",
                hint=hint,
                id="dwebsocket.W001",
            )
        )
    after = later_view_middleware()
    if after:
        found.append(
            Warning(
                f"{MIDDLEWARE} is listed before {', '.join(after)}, whose process_view "
                "must be called before the view.",
                hint="Put WebSocketMiddleware at the end of MIDDLEWARE.",
                id="dwebsocket.W002",
            )
        )
    return found


def _always() -> tuple[Any, ...]:
    """Return the checks that run with and without ``check --deploy``."""
    return check_settings, check_installation, check_broker, check_middleware


def _at_deployment() -> tuple[Any, ...]:
    """Return the checks that only ``check --deploy`` runs."""
    return check_origins, check_dangers


def _join_running() -> None:
    """Add these checks to a run of Django's checks that has begun already.

    Django runs a copy of its list of checks, and one of these checks imports the
    URLconf. In a project that does not list the app, that import is the first one of a
    decorator: too late for the copy. So this searches the stacks of all threads for the
    copy: with the reloader, another thread may import the URLconf first, while the
    check waits for it.
    """
    run = CheckRegistry.run_checks.__code__
    for frame in sys._current_frames().values():
        step: FrameType | None = frame
        while step is not None:
            if step.f_code is run:
                _extend(step.f_locals)
            step = step.f_back


def _extend(run: Mapping[str, Any]) -> None:
    running, tags = run.get("checks"), run.get("tags")
    if not isinstance(running, list):
        return
    late = _at_deployment() if run.get("include_deployment_checks") else ()
    for check in (*_always(), *late):
        wanted = tags is None or not set(check.tags).isdisjoint(tags)
        if wanted and check not in running:
            # Django's loop over the list also reaches items that are added now.
            running.append(check)


def install() -> None:
    """Register these checks with Django; idempotent."""
    for check in _always():
        register(check, Tags.compatibility)
    for check in _at_deployment():
        register(check, Tags.security, deploy=True)
    _join_running()

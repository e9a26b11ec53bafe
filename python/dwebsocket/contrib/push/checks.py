"""System checks of ``contrib.push``.

dwebsocket.E011  DWEBSOCKET["PUSH"] has an unknown key or a value out of range.
dwebsocket.E012  Notifications need Django's users: an app or a middleware is missing.
dwebsocket.E019  "dwebsocket" is not in INSTALLED_APPS: pages do not find its script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from dwebsocket.conf.sections import installed

from .conf import push_settings

__all__ = ("check_push",)


@register(Tags.compatibility)
def check_push(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the settings, and that the site can tell the user of a page."""
    found = push_settings.check("dwebsocket.E011")
    middleware = getattr(settings, "MIDDLEWARE", None) or ()
    if not any("AuthenticationMiddleware" in path for path in middleware):
        found.append(
            Error(
                "contrib.push sends to users, but no middleware in MIDDLEWARE sets "
                "request.user.",
                hint="Add django.contrib.auth.middleware.AuthenticationMiddleware.",
                id="dwebsocket.E012",
            )
        )
    if not apps.is_installed("django.contrib.contenttypes"):
        found.append(
            Error(
                "contrib.push needs django.contrib.contenttypes and an app with users.",
                id="dwebsocket.E012",
            )
        )
    return [*found, *installed("dwebsocket.contrib.push", "dwebsocket.E019")]

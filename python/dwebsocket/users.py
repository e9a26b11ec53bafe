"""Whose connection it is: Django's user, found without the help of the view."""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from .conf import settings
from .exceptions import ConfigurationError
from .reporting import shown

__all__ = ("identify", "of_tenant")

logger = logging.getLogger("dwebsocket.users")


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


def identify(request: HttpRequest, websocket: Any) -> None:
    """Make a WebSocket reachable by ``push.to_user()``.

    Looks at ``request.user``: a query where the visitor has a session, none otherwise.
    A site without users is fine, and so is a database that is away: the view decides
    what that means to it.
    """
    if not settings.TRACK_USERS:
        return
    try:
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated and user.pk is not None:
            websocket._connection.identify(of_tenant(str(user.pk)))
    except Exception:
        logger.exception(
            "The user of %s could not be found",
            shown(request.path),
            extra={"request": request},
        )

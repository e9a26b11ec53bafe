"""Whose connection it is: Django's user, found without the help of the view."""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest

from .conf import settings
from .reporting import shown

__all__ = ("identify",)

logger = logging.getLogger("dwebsocket.users")


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
            websocket._connection.identify(str(user.pk))
    except Exception:
        logger.exception(
            "The user of %s could not be found",
            shown(request.path),
            extra={"request": request},
        )

"""Who may see the page, and who may close connections.

Staff may see the page: whoever may enter Django's admin. To close connections, a user
needs the permission ``dwebsocket_monitor.close_connection``, too.
"""

from __future__ import annotations

import copy
from typing import Any

from django.contrib import admin
from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest

from dwebsocket.logins import rights

__all__ = ("CLOSE", "fresh", "may_close", "may_see")

#: The permission to close connections.
CLOSE = "dwebsocket_monitor.close_connection"


def may_see(request: HttpRequest) -> bool:
    """Return whether the user of a request may see the page."""
    return admin.site.has_permission(request)


def may_close(request: HttpRequest) -> bool:
    """Return whether the user of a request may close connections."""
    user: Any = request.user
    return may_see(request) and bool(user.has_perm(CLOSE))


def fresh(request: HttpRequest) -> HttpRequest | None:
    """Return the request with its user as the database has it now; None: it is gone.

    An open page has the user of its handshake, whose permissions Django keeps.
    """
    user: Any = request.user
    if not hasattr(user, "_meta"):
        return request
    manager = user.__class__._default_manager
    try:
        found = manager.using(user._state.db).get(pk=user.pk)
    except ObjectDoesNotExist:
        return None
    copied = copy.copy(request)
    # With what middleware has noted of the user, such as a second factor.
    rights.renew(copied, found)
    return copied

"""Notifications to a user, kept until a page has acknowledged them.

    from dwebsocket.contrib.push import notify

    notify(order.customer, {"order": order.pk, "state": "shipped"}, on_commit=True)

Every open page of the user gets the notification at once. A user without an open page
gets it on the next page. The guide: docs/contrib.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sending import anotify, notify
else:

    def __getattr__(name: str) -> Any:
        # Imported late: the app must be importable before Django has loaded the models.
        if name in __all__:
            from . import sending

            return getattr(sending, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ("anotify", "notify")

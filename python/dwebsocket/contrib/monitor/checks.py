"""System checks of ``contrib.monitor``.

dwebsocket.E031  Django's admin, whose clothes the page wears, is not installed.
dwebsocket.W032  The admin's URLs come before those of the page, which is never found.
dwebsocket.E039  "dwebsocket" is not in INSTALLED_APPS: the page finds no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import NoReverseMatch, Resolver404, resolve, reverse

from dwebsocket.conf.sections import installed

__all__ = ("check_monitor", "check_urls")


@register(Tags.compatibility)
def check_monitor(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the apps that the page needs."""
    found: list[CheckMessage] = []
    if not apps.is_installed("django.contrib.admin"):
        found.append(
            Error(
                "dwebsocket.contrib.monitor is a page beside Django's admin, which is "
                "not in INSTALLED_APPS.",
                hint="Add 'django.contrib.admin', and its URLs.",
                id="dwebsocket.E031",
            )
        )
    return [*found, *installed("dwebsocket.contrib.monitor", "dwebsocket.E039")]


@register(Tags.urls)
def check_urls(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that the page's address leads to the page."""
    try:
        address = reverse("dwebsocket_monitor:page")
        if resolve(address).app_name == "dwebsocket_monitor":
            return []
    except (NoReverseMatch, Resolver404):
        return []
    except Exception:
        # The project's URLs cannot be loaded, which Django's own checks report.
        return []
    return [
        Warning(
            f"{address} does not lead to the page of dwebsocket.contrib.monitor: URLs "
            "above it, such as those of the admin, match the address, too.",
            hint="Put the page's path() above path('admin/', admin.site.urls).",
            id="dwebsocket.W032",
        )
    ]

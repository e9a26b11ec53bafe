"""The app ``dwebsocket.contrib.monitor``."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

__all__ = ("MonitorConfig",)


class MonitorConfig(AppConfig):
    """The app with the page, the permission, the link in the admin, and the checks."""

    name = "dwebsocket.contrib.monitor"
    label = "dwebsocket_monitor"
    verbose_name = _("WebSockets")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and listen to logouts in every process of the site."""
        from dwebsocket.logins import following

        from . import checks  # noqa: F401

        following.listen()

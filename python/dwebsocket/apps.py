"""The app, for projects that list it: nothing depends on ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ("DwebsocketConfig",)


class DwebsocketConfig(AppConfig):
    """Has the system checks run even if no view has been imported."""

    name = "dwebsocket"
    verbose_name = "WebSockets"

    def ready(self) -> None:
        """Register the checks, and hear of logouts wherever they happen."""
        from . import checks
        from .logins import following

        checks.install()
        following.listen()

"""The app, for projects that list it in ``INSTALLED_APPS``; views work without it."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ("DwebsocketConfig",)


class DwebsocketConfig(AppConfig):
    """Registers the system checks, even if no view is imported."""

    name = "dwebsocket"
    verbose_name = "WebSockets"

    def ready(self) -> None:
        """Register the checks, and listen to logouts in every process of the site."""
        from . import checks
        from .logins import following

        checks.install()
        following.listen()

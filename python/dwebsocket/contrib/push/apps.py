"""The app ``dwebsocket.contrib.push``."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ("PushConfig",)


class PushConfig(AppConfig):
    """The app with the model, the command, the template tag and the checks."""

    name = "dwebsocket.contrib.push"
    label = "dwebsocket_push"
    verbose_name = "Notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and listen to logouts in every process of the site."""
        from dwebsocket.logins import following

        from . import checks  # noqa: F401

        following.listen()

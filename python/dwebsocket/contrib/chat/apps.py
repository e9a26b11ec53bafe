"""The app ``dwebsocket.contrib.chat``."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ("ChatConfig",)


class ChatConfig(AppConfig):
    """The app with the view, the template tags, the panel's scripts and the checks."""

    name = "dwebsocket.contrib.chat"
    label = "dwebsocket_chat"
    verbose_name = "Chat"

    def ready(self) -> None:
        """Register the checks, and listen to logouts in every process of the site."""
        from dwebsocket.logins import following

        from . import checks  # noqa: F401

        following.listen()

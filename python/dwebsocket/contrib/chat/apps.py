"""The app ``dwebsocket.contrib.chat``."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ("ChatConfig",)


class ChatConfig(AppConfig):
    """Has the view, the template tag, the panel's scripts and the checks."""

    name = "dwebsocket.contrib.chat"
    label = "dwebsocket_chat"
    verbose_name = "Chat"

    def ready(self) -> None:
        """Register the checks, and hear of logouts wherever they happen."""
        from dwebsocket.logins import following

        from . import checks  # noqa: F401

        following.listen()

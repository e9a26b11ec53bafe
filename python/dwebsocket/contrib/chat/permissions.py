"""Who may see a room, join it and write there, and under which name.

    from dwebsocket.contrib.chat import Permissions

    class Members(Permissions):
        def may_join(self, room):
            return self.user.groups.filter(name=room).exists()

    DWEBSOCKET = {"CHAT": {"PERMISSIONS": "mysite.chat.Members"}}

The methods run in the thread of a view and may ask the database.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from .conf import chat_settings

__all__ = ("Guests", "Permissions", "permissions_of")


class _Nobody:
    """A visitor of a site without users, which need not have Django's app for them."""

    pk = None
    is_authenticated = False


class Permissions:
    """By default: everybody sees all rooms; who is logged in may join and write.

    One instance serves a page's connection, another one the template that renders the
    panel. Each question is asked when it matters, so an answer may change with time;
    who is in a room already stays there (``dwebsocket.push.disconnect`` ends that).

    Args:
        request: The request that opened the connection, or asks for the page.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @property
    def user(self) -> Any:
        """The visitor; anonymous where the site knows no users."""
        return getattr(self.request, "user", None) or _Nobody()

    def may_see(self, room: str) -> bool:
        """Return whether the visitor may know that the room exists."""
        return True

    def may_join(self, room: str) -> bool:
        """Return whether the visitor may be in the room and read what is said.

        Asked after :meth:`may_see`.
        """
        return bool(self.user.is_authenticated)

    def may_write(self, room: str) -> bool:
        """Return whether the visitor may say something; asked for each message."""
        return True

    def asks_name(self) -> bool:
        """Return whether the page asks the visitor for a name."""
        return False

    def name(self, room: str, wanted: str) -> str:
        """Return what the visitor is called in the room.

        Args:
            room: The room.
            wanted: What the visitor wants to be called; "" if not asked.
        """
        return str(self.user.get_full_name() or self.user.get_username())

    def message(self, room: str, text: str) -> str:
        """Return what the room gets when the visitor says something.

        Args:
            room: The room.
            text: What the visitor wrote, within the limits.

        Raises:
            Refused: The room does not get it (``dwebsocket.session.Refused``).
        """
        return text


class Guests(Permissions):
    """Everybody may join and write: users by their names, guests by one they choose."""

    def may_join(self, room: str) -> bool:
        """Return True."""
        return True

    def asks_name(self) -> bool:
        """Return whether the visitor is a guest."""
        return not self.user.is_authenticated

    def name(self, room: str, wanted: str) -> str:
        """Return the user's name, or what the guest has chosen."""
        return wanted if self.asks_name() else super().name(room, wanted)


def permissions_of(request: HttpRequest) -> Permissions:
    """Return what the setting ``PERMISSIONS`` has to say of a request."""
    made: Permissions = import_string(chat_settings.PERMISSIONS)(request)
    return made

"""The rules of the chat: who may see, join and write in a room, and with which name.

    from dwebsocket.contrib.chat import Permissions

    class Members(Permissions):
        def may_join(self, room):
            return self.user.groups.filter(name=room).exists()

    DWEBSOCKET = {"CHAT": {"PERMISSIONS": "mysite.chat.Members"}}

The methods run in the thread of a view and may query the database.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from .conf import chat_settings

__all__ = ("Guests", "Permissions", "permissions_of")


class _Nobody:
    """The visitor of a site without users, which may lack ``django.contrib.auth``."""

    pk = None
    is_authenticated = False


class Permissions:
    """The default rules: everybody sees all rooms; users may join and write.

    A page's connection has one instance; the template that renders the panel has
    another one. Each method is called when its answer is needed, so answers may change
    with time. A visitor is taken out of a room when :meth:`may_join` turns to False:
    it is called again every ``Session.recheck`` (30) seconds.

    Args:
        request: The request that opened the connection, or that asks for the page.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @property
    def user(self) -> Any:
        """The visitor; an anonymous one if the site has no users."""
        return getattr(self.request, "user", None) or _Nobody()

    def may_see(self, room: str) -> bool:
        """Return whether the visitor may know that the room exists."""
        return True

    def may_join(self, room: str) -> bool:
        """Return whether the visitor may be in the room and read its messages.

        The method is called only if :meth:`may_see` returns True.
        """
        return bool(self.user.is_authenticated)

    def may_write(self, room: str) -> bool:
        """Return whether the visitor may write; called for each message."""
        return True

    def asks_name(self) -> bool:
        """Return whether the page asks the visitor for a name."""
        return False

    def name(self, room: str, wanted: str) -> str:
        """Return the visitor's name in the room.

        Args:
            room: The room.
            wanted: The name that the visitor chose; "" if the page does not ask.
        """
        return str(self.user.get_full_name() or self.user.get_username())

    def message(self, room: str, text: str) -> str:
        """Return the text that the room gets for a message of the visitor.

        Args:
            room: The room.
            text: The visitor's text, within the limits.

        Raises:
            Refused: The room does not get the message
                (``dwebsocket.session.Refused``).
        """
        return text


class Guests(Permissions):
    """Rules for sites with guests, who choose a name; everybody may join and write."""

    def may_join(self, room: str) -> bool:
        """Return True."""
        return True

    def asks_name(self) -> bool:
        """Return whether the visitor is a guest."""
        return not self.user.is_authenticated

    def name(self, room: str, wanted: str) -> str:
        """Return the user's name, or the name that the guest has chosen."""
        return wanted if self.asks_name() else super().name(room, wanted)


def permissions_of(request: HttpRequest) -> Permissions:
    """Return an instance of the class in the setting ``PERMISSIONS`` for a request."""
    made: Permissions = import_string(chat_settings.PERMISSIONS)(request)
    return made

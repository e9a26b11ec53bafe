"""The session of a page in the chat: one connection, any number of rooms."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from dwebsocket import hub
from dwebsocket.process.bucket import Bucket
from dwebsocket.session import Refused, Session
from dwebsocket.websocket import WebSocket

from . import rooms, text
from .conf import chat_settings
from .permissions import permissions_of

__all__ = ("ChatSession",)


class ChatSession(Session):
    """The protocol of sessions, in which the group ``chat.lobby`` is the room "lobby".

    A page publishes ``{"id": .., "text": ..}``; the room gets this with the author's
    name, the author's mark (``who``) and the time. Besides, a page may send:

    * ``{"chat": "hello", "name": .., "key": ..}``, before it joins: the name that it
      wants, and its secret key, by which a guest is recognized later;
    * ``{"chat": "typing", "room": ..}``: the others are told; nothing is kept;
    * ``{"chat": "history", "room": ..}``: asks for the messages of the room;
    * ``{"chat": "rooms"}``: asks for the listing of rooms, and for notices of changes.
    """

    max_groups = 50

    def __init__(self, websocket: WebSocket[Any], request: HttpRequest) -> None:
        super().__init__(websocket, request)
        self.permissions = permissions_of(request)
        self._wanted: Any = ""
        # Random for a page that sends no key: nobody else can compute its mark.
        self._key = secrets.token_hex()
        #: The name of this page's visitor, by group.
        self._names: dict[str, str] = {}
        self._messages = Bucket(chat_settings.RATE, chat_settings.BURST)
        self._typing = Bucket(rate=1, burst=5)
        # For histories and listings, which are long to read and to send.
        self._questions = Bucket(rate=1, burst=20)
        # Each room leaves data in the broker, even without a message. The burst lets a
        # page come back to all of its rooms.
        self._openings = Bucket(rate=0.1, burst=self.max_groups)
        self._wishes = {
            "hello": self._hello,
            "typing": self._type,
            "history": self._history,
            "rooms": self._rooms,
        }

    def run(self) -> None:
        """Serve the page until it goes."""
        try:
            super().run()
        finally:
            # Leave now, not with the connection: the listing is made after this.
            for group in self._names:
                self.websocket.leave(group)
            if self._names:
                rooms.changed()

    def may_join(self, group: str) -> bool:
        """Return whether the group is a room that the visitor may see and join."""
        room = rooms.room_of(group)
        permissions = self.permissions
        return (
            room is not None
            and permissions.may_see(room)
            and permissions.may_join(room)
        )

    def may_publish(self, group: str, data: Any) -> bool:
        """Return whether the visitor may write in the room."""
        room = rooms.room_of(group)
        return room is not None and self.permissions.may_write(room)

    def group(self, name: str) -> hub.Group:
        """Return a room's group, with its history."""
        room = rooms.room_of(name)
        return super().group(name) if room is None else rooms.group(room)

    def info(self, group: str) -> dict[str, str]:
        """Return the visitor's name and mark, and send them to the page.

        Raises:
            Refused: The name is not allowed or not free, the room is full, or there are
                too many rooms.
        """
        room = group.removeprefix(rooms.group_name(""))
        who = self._who()
        name = self._name(room, who)
        self._names[group] = name
        self.send_data({"chat": "you", "room": room, "name": name, "who": who})
        return {"name": name, "who": who}

    def _join(self, command: dict[str, Any]) -> None:
        group = command.get("group")
        was_in = group in self.websocket.groups
        before = self._names.get(group) if isinstance(group, str) else None
        try:
            super()._join(command)
        except BaseException:
            # info() stores the name before the join, which may fail.
            if isinstance(group, str):
                self._forget(group, before)
            raise
        if not was_in:
            rooms.changed()

    def _forget(self, group: str, before: str | None) -> None:
        if before is None:
            self._names.pop(group, None)
        else:
            self._names[group] = before

    def _leave(self, command: dict[str, Any]) -> None:
        super()._leave(command)
        group = command.get("group")
        if isinstance(group, str) and group in self._names:
            del self._names[group]
            rooms.changed()

    def _remove(self, group: str) -> None:
        super()._remove(group)
        if group in self._names:
            del self._names[group]
            rooms.changed()

    def on_publish(self, group: str, data: Any) -> dict[str, Any]:
        """Return the message as the room gets it.

        Raises:
            Refused: The data is not a valid message, or the page is too fast.
        """
        given = data if isinstance(data, dict) else {}
        number = text.clean_id(given.get("id"))
        words = text.clean_message(given.get("text"))
        if wait := self._messages.wait_for():
            raise Refused("too_fast", f"go on in {wait:.1f} s")
        words = self.permissions.message(
            group.removeprefix(rooms.group_name("")), words
        )
        return rooms.message(words, self._names[group], self._who(), number)

    def on_data(self, data: Any) -> None:
        """Carry out a page's request.

        Raises:
            Refused: The request is unknown, or the page may not make it.
        """
        wish = data.get("chat") if isinstance(data, dict) else None
        known = self._wishes.get(wish) if isinstance(wish, str) else None
        if known is None:
            wishes = ", ".join(self._wishes)
            raise Refused("invalid", f"unknown request; these are known: {wishes}")
        known(data)

    def _hello(self, data: dict[str, Any]) -> None:
        self._key = text.clean_id(data.get("key"))
        wanted = data.get("name")
        # A longer name is refused in any case; do not keep it with the connection.
        self._wanted = wanted[:1_000] if isinstance(wanted, str) else ""

    def _type(self, data: dict[str, Any]) -> None:
        group = self._group_of(data)
        if self._typing.wait_for():
            return
        self._must_be_in(group)
        if not self.may_publish(group, None):
            raise Refused("forbidden", "you may not write there")
        # Without a history: nobody needs this later.
        told = {"typing": True, "name": self._names[group], "who": self._who()}
        hub.group(group, history=0).send_json(told, exclude=self.websocket)

    def _group_of(self, data: dict[str, Any]) -> str:
        """Return the group of the room that a request names; the page must be in it.

        Raises:
            Refused: The request names no room, or the page is not in the room.
        """
        room = data.get("room")
        if not isinstance(room, str):
            raise Refused("invalid", "the room's name is needed")
        group = rooms.group_name(room)
        if group not in self._names:
            raise Refused("forbidden", "join the room first")
        return group

    def _history(self, data: dict[str, Any]) -> None:
        group = self._group_of(data)
        self._question()
        self._must_be_in(group)
        room = group.removeprefix(rooms.group_name(""))
        kept = rooms.history(room, chat_settings.HISTORY)
        self.send_data({"chat": "history", "room": room, "messages": kept})

    def _rooms(self, data: dict[str, Any]) -> None:
        self._question()
        notices = rooms.directory()
        if notices.names[0] not in self.websocket.groups:
            self.websocket.join(notices.names[0], history=0, presence=False)
        self.send_data({"chat": "rooms", "rooms": rooms.listing(self.permissions)})

    def _question(self) -> None:
        if wait := self._questions.wait_for():
            raise Refused("too_fast", f"go on in {wait:.1f} s")

    def _who(self) -> str:
        """Return a mark that identifies the person in all rooms and connections."""
        user = self.permissions.user
        if user.is_authenticated:
            salt, key = "dwebsocket.chat", str(user.pk)
            return salted_hmac(salt, key, algorithm="sha256").hexdigest()[:20]
        # The page's key is random and secret. SECRET_KEY is left out, so that a guest
        # keeps the mark on a site that makes a new SECRET_KEY at each start.
        return hashlib.sha256(self._key.encode()).hexdigest()[:20]

    def _name(self, room: str, who: str) -> str:
        here = rooms.members(room)
        if who not in here and len(here) >= chat_settings.PEOPLE:
            raise Refused("room_full", "there is no room for more people")
        if not here and not rooms.may_open(room):
            raise Refused("rooms_full", "there are too many rooms with people in them")
        if not here and self._openings.wait_for():
            raise Refused("rooms_full", "you have opened too many rooms just now")
        if not self.permissions.asks_name():
            return text.shown(self.permissions.name(room, ""))
        wanted = text.clean_name(self._wanted)
        name = text.clean_name(self.permissions.name(room, wanted))
        taken = {text.folded(other) for mark, other in here.items() if mark != who}
        if text.folded(name) in taken:
            self._suggest(room, _free(name, taken))
            raise Refused("name_taken", "somebody here has this name")
        return name

    def _suggest(self, room: str, name: str) -> None:
        self.send_data({"chat": "suggestion", "room": room, "name": name})


def _free(name: str, taken: set[str]) -> str:
    """Return the first name of "Ana 2", "Ana 3" and so on that is free.

    A long name is cut, so that the suggestion is not too long itself.
    """
    number = 2
    while text.folded(free := _numbered(name, f" {number}")) in taken:
        number += 1
    return free


def _numbered(name: str, end: str) -> str:
    kept = max(0, chat_settings.NAME_LENGTH - len(end))
    return (name[:kept].rstrip() + end).lstrip()

"""Rooms, who is in them, and what was said last. In memory, for one process.

One lock guards everything, and messages are sent while it is held, so that all
members of a room see the same order. That is sound because a send never waits: the
view's decorator says ``overflow="close"``, so a member whose line is stuck is cut off
once its outbox is full, and a send to a member that is gone does nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, Protocol

from rooms.text import LOBBY, Refused, folded

HISTORY = 50
PEOPLE_PER_ROOM = 200
ROOMS = 200
ROOMS_LISTED = 30
# Told to the page whose place was taken by the same person elsewhere: stay away.
REPLACED = 4001


class Socket(Protocol):
    """What the hub needs of a WebSocket."""

    def send(self, data: str) -> object: ...
    def close(self, code: int | None = None, reason: str | None = None) -> object: ...


class Bucket:
    """A limit that allows for bursts: ``burst`` at once, ``rate`` a second for long."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._left = float(burst)
        self._then = time.monotonic()

    def wait_for(self) -> float:
        """Take one and return 0, or return the seconds until there is one again."""
        now = time.monotonic()
        self._left = min(self.burst, self._left + (now - self._then) * self.rate)
        self._then = now
        if self._left < 1:
            return (1 - self._left) / self.rate
        self._left -= 1
        return 0


class Member:
    """One page in one room. ``key`` is its secret: who has it is the same person."""

    def __init__(self, socket: Socket, room: Room, name: str, key: str) -> None:
        self.socket = socket
        self.room = room
        self.name = name
        self.key = key
        self.messages = Bucket(rate=1.5, burst=8)
        self.typing = Bucket(rate=1, burst=5)

    def tell(self, **event: Any) -> None:
        """Send this member, and nobody else, an event."""
        self.socket.send(encoded(event))


class Room:
    """The members by their folded names, and the latest messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, Member] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)

    def people(self) -> list[str]:
        return [member.name for member in self.members.values()]

    def tell(self, but: Member | None = None, **event: Any) -> None:
        """Send everybody an event, encoded once."""
        send_all((m for m in self.members.values() if m is not but), event)


class Hub:
    """All rooms of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rooms: OrderedDict[str, Room] = OrderedDict()

    def join(self, socket: Socket, room_name: str, name: str, key: str) -> Member:
        """Bring a page into a room and tell it the state of things.

        A page that comes back (same name, same key) takes the place of its former
        self, of which the server may not have noticed yet that it is gone.

        Raises:
            Refused: The name is somebody else's, or there is no room.
        """
        with self._lock:
            room = self._room(room_name)
            former = room.members.get(folded(name))
            if former is not None and former.key != key:
                raise Refused("name-taken", suggestion=_free_name(name, room))
            if former is None and len(room.members) >= PEOPLE_PER_ROOM:
                raise Refused("room-full")
            member = Member(socket, room, name, key)
            room.members[folded(name)] = member
            member.tell(
                type="welcome",
                you=name,
                people=room.people(),
                history=list(room.history),
                rooms=self._overview(),
            )
            if former is None:
                room.tell(but=member, type="joined", name=name, people=room.people())
                self._announce_rooms()
            else:
                former.socket.close(REPLACED, "replaced")
            return member

    def leave(self, member: Member) -> None:
        """Take a page out of its room, unless another took its place already."""
        with self._lock:
            room = member.room
            if room.members.get(folded(member.name)) is not member:
                return
            del room.members[folded(member.name)]
            room.tell(type="left", name=member.name, people=room.people())
            self._announce_rooms()

    def say(self, member: Member, message_id: str, text: str) -> None:
        """Pass a message on to the room; the sender's copy is its confirmation.

        A page repeats a message whose confirmation it did not get; what the room has
        already is only confirmed again.

        Raises:
            Refused: Too many messages in a short time.
        """
        with self._lock:
            room = member.room
            if any(message["id"] == message_id for message in room.history):
                member.tell(type="confirmed", id=message_id)
                return
            if wait := member.messages.wait_for():
                raise Refused("too-fast", wait=round(wait, 1))
            message = {
                "id": message_id,
                "name": member.name,
                "text": text,
                "at": round(time.time() * 1000),
            }
            room.history.append(message)
            room.tell(type="message", **message)

    def typing(self, member: Member) -> None:
        """Show the others that somebody is writing."""
        with self._lock:
            if not member.typing.wait_for():
                member.room.tell(but=member, type="typing", name=member.name)

    def _room(self, name: str) -> Room:
        """Return the room, made if need be in the place of a long empty one."""
        if name not in self._rooms:
            if len(self._rooms) >= ROOMS:
                self._forget_one()
            self._rooms[name] = Room(name)
        self._rooms.move_to_end(name)
        return self._rooms[name]

    def _forget_one(self) -> None:
        for name, room in self._rooms.items():
            if not room.members:
                del self._rooms[name]
                return
        raise Refused("too-many-rooms")

    def _overview(self) -> list[dict[str, Any]]:
        """Return the rooms with people in them, the fullest first, and the lobby."""
        counts = {LOBBY: 0}
        for room in self._rooms.values():
            if room.members:
                counts[room.name] = len(room.members)
        fullest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [
            {"name": name, "people": people} for name, people in fullest[:ROOMS_LISTED]
        ]

    def _announce_rooms(self) -> None:
        everybody = [m for r in self._rooms.values() for m in r.members.values()]
        send_all(everybody, {"type": "rooms", "rooms": self._overview()})


def encoded(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False)


def send_all(members: Iterable[Member], event: dict[str, Any]) -> None:
    text = encoded(event)
    for member in members:
        member.socket.send(text)


def _free_name(name: str, room: Room) -> str:
    """Return the first of "Ana 2", "Ana 3" and so on that nobody has."""
    number = 2
    while folded(f"{name} {number}") in room.members:
        number += 1
    return f"{name} {number}"


hub = Hub()

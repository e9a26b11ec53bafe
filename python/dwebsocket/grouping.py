"""A WebSocket in its groups."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from . import arguments, broker, cooperation, hub, signals
from ._engine import Joined
from .exceptions import WebSocketClosed
from .receiving import Shown
from .sending import Sending

__all__ = ("Grouping",)


class Grouping(Sending):
    """The part of :class:`~dwebsocket.websocket.WebSocket` that joins and leaves."""

    __slots__ = ("_joined",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        #: What it has joined and not left, for the signal at the end.
        self._joined: set[str] | None = None

    def join(
        self,
        group: str,
        *,
        since: tuple[int, str] | None = None,
        history: int | None = None,
        ttl: float | None = None,
        presence: bool | None = None,
        info: Any = None,
        envelope: bool = False,
        was: Iterable[str] = (),
        reply: Any = None,
    ) -> Joined:
        """Become a member of a group; the membership ends with the connection.

        Args:
            group: Its name; one that ends in ``*`` stands for every group that begins
                with what is before it.
            since: The offset and epoch of the latest message that the client has seen
                (a pair, or a :class:`~dwebsocket.hub.Position`): it is sent what came
                after it. ``(0, "")``: all that is kept.
            history: How many messages the group keeps, instead of the setting.
            ttl: Seconds that it keeps them, instead of the setting.
            presence: Whether the other members see this one, instead of the setting.
            info: What they see of it: anything that JSON can express, in at most 64 KiB
                (65,536 bytes of JSON) and 64 levels.
            envelope: From now on, what comes from groups is wrapped in the JSON that
                ``dwebsocket.js`` speaks, with the group and the position.
            was: The ``member_id`` that the client had in earlier connections (of more
                than 16, the last count). Of what it missed, it is not sent what
                left these out (``exclude=``).
            reply: The client's number of its request, answered by a "joined" frame.

        Returns:
            Where the group stands, and whether all that was missed was sent.

        Raises:
            ValueError: The name breaks the rules, an option or ``since`` is out of its
                range, or ``info`` is too large or too deep.
            TypeError: The name is not a str, ``since`` is no position, ``was`` has
                something else than ids, or ``info`` has no form in JSON.
            WebSocketClosed: The connection has ended.
            BrokerError: The broker, which has the history, cannot be asked.
        """
        broker.use()
        chosen = hub.merged(group, history, ttl, presence)
        joined = cooperation.call(
            self._connection.join,
            group,
            since=arguments.position(since),
            history=chosen.history,
            ttl=float(chosen.ttl),
            presence=chosen.presence,
            # Not escaped: half of a surrogate pair is nothing for others to read.
            info=hub.to_json({} if info is None else info, ensure_ascii=False),
            envelope=bool(envelope),
            was=arguments.member_ids(was),
            reply=None if reply is None else json.dumps(reply),
        )
        if joined is None:
            raise WebSocketClosed(
                self._connection.close_code or 1006, self._connection.close_reason
            )
        if self._joined is None:
            self._joined = set()
        if group not in self._joined:
            self._joined.add(group)
            signals.emit(signals.group_joined, self, group=group)
        return joined

    def leave(self, group: str, *, reply: Any = None) -> bool:
        """Leave a group; return whether it was a member.

        Args:
            group: Its name.
            reply: The client's number of its request, answered by a "left" frame.

        Raises:
            TypeError: The name is not a str.
        """
        arguments.group_name(group)
        left = self._connection.leave(
            group, None if reply is None else json.dumps(reply)
        )
        if self._joined is not None:
            self._joined.discard(group)
        if left:
            signals.emit(signals.group_left, self, group=group)
        return left

    @Shown
    def groups(self) -> list[str]:
        """The groups that it is a member of."""
        return self._connection.groups

    @Shown
    def member_id(self) -> str:
        """What the other members know it by."""
        return self._connection.member_id

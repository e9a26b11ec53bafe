"""The WebSocket's methods to join and leave groups."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dwebsocket import hub, signals
from dwebsocket._engine import Joined
from dwebsocket.conf import arguments
from dwebsocket.exceptions import WebSocketClosed
from dwebsocket.hub import blocking, connecting

from .receiving import Shown
from .sending import Sending

__all__ = ("Grouping",)


class Grouping(Sending):
    """The group methods of :class:`~dwebsocket.websocket.WebSocket`."""

    __slots__ = ("_joined",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        #: Groups joined and not left; ``group_left`` is sent for them at the end.
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
            group: The group's name. A name that ends in ``*`` stands for every group
                whose name begins with the part before the star.
            since: The offset and epoch of the latest message that the client has seen
                (a pair, or a :class:`~dwebsocket.hub.Position`): the client gets the
                messages after it. ``(0, "")``: all messages that the group keeps.
            history: How many messages the group keeps; overrides the setting.
            ttl: Seconds that the group keeps them; overrides the setting.
            presence: Whether the other members see this member; overrides the setting.
            info: What the other members see of this member: anything that JSON can
                express, in at most 64 KiB (65,536 bytes of JSON) and 64 levels.
            envelope: From now on, messages from groups are wrapped in the JSON that
                ``dwebsocket.js`` speaks, with the group and the position.
            was: The ``member_id`` values of the client's earlier connections (of more
                than 16, the last 16 count). Missed messages that excluded one of them
                (``exclude=``) are not sent.
            reply: The number of the client's request; a "joined" frame answers it.

        Returns:
            The position of the group, and whether every missed message was sent.

        Raises:
            ValueError: The name breaks the rules, an option or ``since`` is out of
                range, or ``info`` is too large or too deep.
            TypeError: The name is not a str, ``since`` is not a position, ``was``
                has a value that is not an id, or JSON cannot express ``info``.
            WebSocketClosed: The connection has ended.
            BrokerError: The broker, which has the history, cannot be asked.
        """
        connecting.use()
        chosen = hub.merged(group, history, ttl, presence)
        joined = blocking.call(
            self._connection.join,
            group,
            since=arguments.position(since),
            history=chosen.history,
            ttl=float(chosen.ttl),
            presence=chosen.presence,
            # Without escapes, the JSON cannot carry half of a surrogate pair to other
            # members.
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
        """Leave a group; return whether the WebSocket was a member.

        Args:
            group: The group's name.
            reply: The number of the client's request; a "left" frame answers it.

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
        """The groups that this WebSocket is a member of."""
        return self._connection.groups

    @Shown
    def member_id(self) -> str:
        """The id under which the other members see this WebSocket."""
        return self._connection.member_id

"""Handles of groups: send to members, list them, and read histories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from django.core.signals import setting_changed

from dwebsocket import _engine
from dwebsocket._engine import Published
from dwebsocket.conf import arguments, group_options, settings
from dwebsocket.conf.group_options import Options

from . import blocking
from .connecting import use
from .messages import (
    Excluded,
    Message,
    Payload,
    TargetKind,
    check_reason,
    ids,
    payload,
    to_json,
)
from .waiting import acall

__all__ = (
    "Group",
    "History",
    "Member",
    "Position",
    "Stats",
    "disconnect",
    "group",
    "groups",
    "merged",
    "occupied",
    "options",
    "stats",
)


class Member(NamedTuple):
    """A member of a group.

    Args:
        id: The ``member_id``, unique among the members of all processes.
        info: The ``info`` that the member gave when it joined.
    """

    id: str
    info: Any


class Position(NamedTuple):
    """A position in a group's history; ``join()`` takes it as ``since``.

    Args:
        offset: The number of the latest message; 0 before the first.
        epoch: The name of the history in which the offset counts; "" if there is none.
    """

    offset: int
    epoch: str


class History(list[tuple[int, "str | bytes"]]):
    """The latest messages of a group with their offsets, and the group's position."""

    #: The position when the messages were read; of several groups: offset 0, epoch "".
    position: Position = Position(0, "")


class Stats(NamedTuple):
    """Numbers of this process: what its hub has now, and has lost since the start.

    Args:
        connections: Open WebSockets.
        groups: Groups that have members, a history, or messages that wait.
        memberships: Memberships in groups: one for each member of each group.
        users: Users who have a WebSocket.
        dropped: Messages that WebSockets lost because of full outboxes, from any
            sender.
        waiting: Messages with a history that wait for the broker.
        lost: Messages lost on the way over the broker, as a lower bound: messages that
            are too large for the broker or came faster than this process could take
            them, notices of presence (which are repaired later), and data from the
            broker that is no message of this package.
        broker: "none", "connected" or "away".
    """

    connections: int
    groups: int
    memberships: int
    users: int
    dropped: int
    waiting: int
    lost: int
    broker: Literal["none", "connected", "away"]


#: The most bytes in a group's name.
MAX_NAME = 255

_options: dict[str, Options] = {}


def options(name: str) -> Options:
    """Return a group's options as ``DWEBSOCKET["GROUPS"]`` gives them.

    An entry with the group's whole name takes precedence over prefixes (``"chat.*"``),
    and a longer prefix over a shorter one.

    Raises:
        TypeError: The name is not a str.
    """
    arguments.group_name(name)
    found = _options.get(name)
    if found is None:
        given: Mapping[str, Mapping[str, Any]] = settings.GROUPS
        chosen = given.get(name)
        if chosen is None:
            prefixes = [
                key
                for key in given
                if key.endswith("*") and name.startswith(key.removesuffix("*"))
            ]
            chosen = given[max(prefixes, key=len)] if prefixes else {}
        found = Options(**chosen)
        if len(name) > MAX_NAME:
            return found  # not a valid name, and perhaps a megabyte: do not cache it
        if len(_options) >= 10_000:
            # Visitors may choose names, so the cache needs a limit.
            _options.clear()
        _options[name] = found
    return found


class Group:
    """One group, or several groups that one call sends to.

    Args:
        names: The groups' names: 1 to 255 bytes of UTF-8 each, no control characters.
        each: The options of each group, in the same order.
    """

    __slots__ = ("each", "names")

    def __init__(self, names: tuple[str, ...], each: tuple[Options, ...]) -> None:
        self.names: tuple[str, ...] = names
        self.each: tuple[Options, ...] = each

    @property
    def options(self) -> Options:
        """The options of the group; if there are several groups, of the first one."""
        return self.each[0] if self.each else Options()

    def send(self, message: Message, *, exclude: Excluded | None = None) -> Published:
        """Send a message to every member, in all processes.

        Args:
            message: ``str`` is sent as text, ``bytes`` as binary.
            exclude: A WebSocket that does not get the message, the ``member_id`` of a
                WebSocket in any process, or several of these.

        Returns:
            The number of connections of this process that the message went to
            (``.local``), and what the broker did with the message (``.broker``).

        Raises:
            TypeError: The message is neither str nor bytes (see :meth:`send_json`).
            ValueError: The group's name breaks the rules.
        """
        message = arguments.message(message)
        if not isinstance(message, str | bytes | bytearray | memoryview):
            raise TypeError(
                f"a message is str or bytes, not {type(message).__name__}; send_json() "
                "sends anything that JSON can express"
            )
        return publish_to(self, payload(message), ids(exclude))

    def send_json(
        self, data: Any, *, exclude: Excluded | None = None, **kwargs: Any
    ) -> Published:
        """Send ``data`` as JSON text.

        Args:
            data: Anything that Django's JSON encoder can encode.
            exclude: As for :meth:`send`.
            kwargs: More arguments of :func:`json.dumps`.

        Raises:
            TypeError, ValueError: As :func:`to_json`, and as :meth:`send`.
        """
        return publish_to(self, (to_json(data, **kwargs), False, True), ids(exclude))

    def close(self, code: int = 1000, reason: str = "") -> Published:
        """Close the connections of all members, in all processes.

        Args:
            code: The close code (RFC 6455 section 7.4).
            reason: At most 123 bytes of UTF-8.

        Raises:
            ValueError: The code may not be sent, or the reason is too long.
        """
        return disconnect("group", list(self.names), code, reason)

    def members(self) -> list[Member]:
        """Return the present members of all processes (see ``join()``).

        A member of several of the groups is listed once, with its ``info`` in the first
        of them. Right after this process has connected to a broker, the call waits up
        to two seconds for the other processes to report their members.
        """
        use()
        found = blocking.call(_engine.members, list(self.names))
        return [Member(number, json.loads(info)) for number, info in found]

    def count(self) -> int:
        """Return the number of members; a member of several groups counts once.

        Present members of all processes count; in a group that has none, the members in
        this process count. The call may wait, like :meth:`members`.
        """
        use()
        return blocking.call(_engine.count, list(self.names))

    def history(self, limit: int = 100) -> History:
        """Return the latest messages, the oldest first, with their offsets.

        Args:
            limit: The most messages of each group.

        Returns:
            A list of pairs of offset and message; its ``position`` is that of the
            history at this moment. A group that keeps no history adds nothing.

        Raises:
            BrokerError: The broker cannot be reached.
            TypeError: The limit is not a whole number.
            ValueError: The limit is less than 0.
        """
        limit = arguments.limit(limit)
        use()
        found = History()
        for name, (size, ttl, _) in zip(self.names, self.each, strict=True):
            if not size:
                # A broker that is asked for a history begins one.
                continue
            entries, offset, epoch = blocking.call(
                _engine.history, name, limit, size, float(ttl)
            )
            found += entries
            found.position = Position(offset, epoch)
        if len(self.names) > 1:
            found.position = Position(0, "")
        return found

    def position(self) -> Position:
        """Return the history's position: messages sent from now on come after it.

        Use it for a page that the server renders: the page joins with this position
        (``since``) and gets the messages that were sent meanwhile. Read the position
        before you read the data that the page shows.

        Returns:
            The offset of the latest message, and the epoch; 0 and "" if the group keeps
            no history or its history is still empty: ``since`` then asks for all of it.

        Raises:
            BrokerError: The broker cannot be reached.
            ValueError: There are several groups, each with its own position.
        """
        if len(self.names) != 1:
            raise ValueError("several groups have no common position")
        use()
        (options,) = self.each
        if not options.history:
            return Position(0, "")
        return Position(
            *blocking.call(
                _engine.position, self.names[0], options.history, float(options.ttl)
            )
        )

    async def asend(
        self, message: Message, *, exclude: Excluded | None = None
    ) -> Published:
        """Send as :meth:`send` does; while it waits for the broker, other tasks run."""
        return await acall(self.send, message, exclude=exclude)

    async def asend_json(
        self, data: Any, *, exclude: Excluded | None = None, **kwargs: Any
    ) -> Published:
        """Send as :meth:`send_json` does, from an asynchronous view."""
        return await acall(self.send_json, data, exclude=exclude, **kwargs)

    async def aclose(self, code: int = 1000, reason: str = "") -> Published:
        """Close as :meth:`close` does, from an asynchronous view."""
        return await acall(self.close, code, reason)

    async def amembers(self) -> list[Member]:
        """Return what :meth:`members` returns, to an asynchronous view."""
        return await acall(self.members)

    async def acount(self) -> int:
        """Return what :meth:`count` returns, to an asynchronous view."""
        return await acall(self.count)

    async def ahistory(self, limit: int = 100) -> History:
        """Return what :meth:`history` returns, to an asynchronous view."""
        return await acall(self.history, limit)

    async def aposition(self) -> Position:
        """Return what :meth:`position` returns, to an asynchronous view."""
        return await acall(self.position)

    def __repr__(self) -> str:
        return f"<Group {', '.join(self.names)}>"


def publish_to(group: Group, message: Payload, excluded: list[str]) -> Published:
    """Publish a message to the members of a group, or of several.

    Args:
        group: The group.
        message: What :func:`dwebsocket.hub.messages.payload` returned.
        excluded: The ids of members that do not get it.
    """
    use()
    blocking.note_many()
    data, binary, is_json = message
    return blocking.call(
        _engine.publish,
        "group",
        list(group.names),
        data,
        binary=binary,
        json=is_json,
        exclude=excluded,
        histories=[(each.history, float(each.ttl)) for each in group.each],
    )


def disconnect(
    kind: TargetKind, targets: list[str], code: int, reason: str
) -> Published:
    """Close connections of groups, of users, or all; see :meth:`Group.close`."""
    check_reason(reason)
    code, reason = arguments.close_code(code), arguments.reason(reason)
    use()
    return blocking.call(_engine.disconnect, kind, targets, code, reason)


def group(
    name: str,
    *,
    history: int | None = None,
    ttl: float | None = None,
    presence: bool | None = None,
) -> Group:
    """Return a group; the setting ``GROUPS`` has the options that are not given.

    Args:
        name: 1 to 255 bytes of UTF-8, no control characters.
        history: How many of the latest messages the group keeps; 0: none.
        ttl: Seconds for which the group keeps them.
        presence: Whether the members can see one another.

    Raises:
        TypeError: The name is not a str.
        ValueError: An option is out of its range.
    """
    return Group((name,), (merged(name, history, ttl, presence),))


def groups(*names: str) -> Group:
    """Return several groups as one handle.

    A member gets a message once for all its groups without a history together, and once
    more for each of its groups with a history, with the position in that group. Each
    group has the options that the settings give it.

    Raises:
        TypeError: A name is not a str.
    """
    return Group(names, tuple(options(name) for name in names))


def merged(
    name: str, history: int | None, ttl: float | None, presence: bool | None
) -> Options:
    """Return a group's options; arguments take precedence over the settings.

    Raises:
        TypeError: The name is not a str.
        ValueError: An option is out of its range.
    """
    base = options(name)
    if history is None and ttl is None and presence is None:
        return base
    group_options.check({"history": history, "ttl": ttl, "presence": presence})
    return Options(
        base.history if history is None else history,
        base.ttl if ttl is None else ttl,
        base.presence if presence is None else presence,
    )


def occupied(prefix: str) -> dict[str, int]:
    """Return the groups that have members in any process, and how many they have.

    Only present members count (see ``presence``). The call may wait, like
    :meth:`Group.members`.

    Args:
        prefix: The beginning of the groups' names; "": all groups.

    Returns:
        A dict of names and numbers of members.

    Raises:
        TypeError: The prefix is not a str.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"a prefix is a str, not {type(prefix).__name__}")
    use()
    return dict(blocking.call(_engine.occupied, prefix))


def stats() -> Stats:
    """Return numbers of this process, for a monitoring system or a log.

    The call starts nothing, asks no broker, and takes microseconds for each group.
    """
    found = _engine.hub_stats()
    return Stats(
        connections=found.connections,
        groups=found.groups,
        memberships=found.memberships,
        users=found.users,
        dropped=found.dropped,
        waiting=found.waiting,
        lost=found.lost,
        broker=found.broker,
    )


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "DWEBSOCKET":
        _options.clear()


setting_changed.connect(_forget, dispatch_uid="dwebsocket.hub")

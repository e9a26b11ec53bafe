"""Handles of groups: what sends to them, and tells who and what is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.core.signals import setting_changed

from dwebsocket import _engine
from dwebsocket._engine import Published
from dwebsocket.conf import arguments, group_options, settings
from dwebsocket.conf.group_options import Options

from . import blocking
from .connecting import use
from .messages import (
    Message,
    Payload,
    TargetKind,
    check_reason,
    ids,
    payload,
    to_json,
)

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
    """Somebody in a group.

    Args:
        id: Tells this member from every other, in all processes.
        info: What it said of itself when it joined.
    """

    id: str
    info: Any


class Position(NamedTuple):
    """A place in a group's history; ``join()`` takes it as ``since``.

    Args:
        offset: The number of the latest message; 0 before the first.
        epoch: Which history that is; "" where there is none.
    """

    offset: int
    epoch: str


class History(list[tuple[int, "str | bytes"]]):
    """The latest messages of a group, with their offsets, and where it stood then."""

    #: Of several groups: offset 0, and epoch "".
    position = Position(0, "")


class Stats(NamedTuple):
    """What the hub of this process has now, and what it has lost since it began.

    Args:
        connections: Open WebSockets.
        groups: Groups that have members, a history, or messages that wait.
        memberships: In groups: who is in two counts twice.
        users: Users who have a WebSocket.
        dropped: Messages that WebSockets lost to full outboxes, whoever sent them.
        waiting: Messages with a history that wait for the broker.
        lost: What the way over the broker lost, at the least: messages that are too
            large for it or came faster than this process could take them, news of
            presence, which are made up for, and what came from the broker and was no
            message of this package.
        broker: "none", "connected" or "away".
    """

    connections: int
    groups: int
    memberships: int
    users: int
    dropped: int
    waiting: int
    lost: int
    broker: str


#: Bytes of a group's name.
MAX_NAME = 255

_options: dict[str, Options] = {}


def options(name: str) -> Options:
    """Return what ``DWEBSOCKET["GROUPS"]`` says of a group.

    A name given there in full goes before the longest prefix (``"chat.*"``).

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
            return found  # of no group, and perhaps a visitor's megabyte
        if len(_options) >= 10_000:
            # Names may come from visitors.
            _options.clear()
        _options[name] = found
    return found


class Group:
    """One group, or several that are sent to in one call.

    Args:
        names: The groups: 1 to 255 bytes of UTF-8 each, no control characters.
        each: What each of them does beside that, in the same order.
    """

    __slots__ = ("each", "names")

    def __init__(self, names: tuple[str, ...], each: tuple[Options, ...]) -> None:
        self.names = names
        self.each = each

    @property
    def options(self) -> Options:
        """What it does beside passing messages on; of several groups, the first."""
        return self.each[0] if self.each else Options()

    def send(self, message: Message, *, exclude: Any = None) -> Published:
        """Send a message to every member, in all processes.

        Args:
            message: ``str`` goes out as text, ``bytes`` as binary.
            exclude: A WebSocket that does not get it, the ``member_id`` of one in any
                process, or several of them.

        Returns:
            How many connections of this process it went to (``.local``), and what the
            broker made of it (``.broker``).

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
        return self._publish(payload(message), ids(exclude))

    def send_json(self, data: Any, *, exclude: Any = None, **kwargs: Any) -> Published:
        """Send ``data`` as JSON text.

        Args:
            data: What Django's JSON encoder can encode.
            exclude: As for :meth:`send`.
            kwargs: Go to :func:`json.dumps`.

        Raises:
            TypeError, ValueError: As :func:`to_json`, and as :meth:`send`.
        """
        return self._publish((to_json(data, **kwargs), False, True), ids(exclude))

    def _publish(self, message: Payload, excluded: list[str]) -> Published:
        use()
        blocking.note_many()
        data, binary, is_json = message
        return blocking.call(
            _engine.publish,
            "group",
            list(self.names),
            data,
            binary=binary,
            json=is_json,
            exclude=excluded,
            histories=[(each.history, float(each.ttl)) for each in self.each],
        )

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
        """Return the members of all processes who are present (see ``join()``).

        Who is in several of the groups is there once, as in the first of them. Right
        after this process has connected to a broker, this waits until the others have
        said who is there: for at most two seconds.
        """
        use()
        found = blocking.call(_engine.members, list(self.names))
        return [Member(number, json.loads(info)) for number, info in found]

    def count(self) -> int:
        """Return how many members there are, each counted once.

        These are the members who are present; in a group where nobody is, those of this
        process. It may wait as :meth:`members`.
        """
        use()
        return blocking.call(_engine.count, list(self.names))

    def history(self, limit: int = 100) -> History:
        """Return the latest messages, the oldest first, with their offsets.

        Args:
            limit: How many, of each group.

        Returns:
            A list of pairs; its ``position`` is where the history stood then.

        Raises:
            BrokerError: The broker cannot be asked.
            TypeError: The limit is not a whole number.
            ValueError: The limit is less than 0.
        """
        limit = arguments.limit(limit)
        use()
        found = History()
        for name, (size, ttl, _) in zip(self.names, self.each, strict=True):
            entries, offset, epoch = blocking.call(
                _engine.history, name, limit, size, float(ttl)
            )
            found += entries
            found.position = Position(offset, epoch)
        if len(self.names) > 1:
            found.position = Position(0, "")
        return found

    def position(self) -> Position:
        """Return where the history stands: what is sent from now on comes after it.

        For a page that is made by the server and then joins with it (``since``): what
        is sent in between is not missed. Ask for it before what the page shows.

        Returns:
            The offset of the latest message, and the epoch; 0 and "" where no history
            is kept, or where it has not begun: ``since`` then asks for all of it.

        Raises:
            BrokerError: The broker cannot be asked.
            ValueError: These are several groups, each with a position of its own.
        """
        if len(self.names) != 1:
            raise ValueError("several groups have no position in common")
        use()
        (options,) = self.each
        if not options.history:
            return Position(0, "")
        return Position(
            *blocking.call(
                _engine.position, self.names[0], options.history, float(options.ttl)
            )
        )

    def __repr__(self) -> str:
        return f"<Group {', '.join(self.names)}>"


def disconnect(
    kind: TargetKind, targets: list[str], code: int, reason: str
) -> Published:
    """Close the connections of groups, users or all; see :meth:`Group.close`."""
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
    """Return a group; what is not given, the settings say (``GROUPS``).

    Args:
        name: 1 to 255 bytes of UTF-8, no control characters.
        history: How many messages it remembers; 0: none.
        ttl: Seconds that it remembers them.
        presence: Whether its members can see one another.

    Raises:
        TypeError: The name is not a str.
        ValueError: An option is out of its range.
    """
    return Group((name,), (merged(name, history, ttl, presence),))


def groups(*names: str) -> Group:
    """Return several groups: each member gets a message once, whichever it is in.

    Each group keeps what its settings say. Those with a history have a position of
    their own for a message, and who is in one of them gets it once more for each.

    Raises:
        TypeError: A name is not a str.
    """
    return Group(names, tuple(options(name) for name in names))


def merged(
    name: str, history: int | None, ttl: float | None, presence: bool | None
) -> Options:
    """Return a group's options, with arguments before settings.

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
    """Return which groups have members, and how many: in all processes, by name.

    Those count who can be seen (``presence``). It may wait as :meth:`Group.members`.

    Args:
        prefix: What the names begin with; "": all.

    Raises:
        TypeError: The prefix is not a str.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"a prefix is a str, not {type(prefix).__name__}")
    use()
    return dict(blocking.call(_engine.occupied, prefix))


def stats() -> Stats:
    """Return what this process has, and has lost: for a page that is watched, or a log.

    It starts nothing, asks no broker, and takes microseconds for each group.
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

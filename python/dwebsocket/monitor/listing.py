"""Pages of connections and groups, from all processes of the site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import asking
from .asking import Answer, Scope

__all__ = (
    "Connection",
    "Connections",
    "Group",
    "Groups",
    "close",
    "close_all",
    "connections",
    "connections_answered",
    "connections_question",
    "groups",
    "groups_answered",
    "groups_question",
)

#: The most rows of one page.
_MOST = 500


@dataclass(frozen=True)
class Connection:
    """An open connection of any process.

    Args:
        process: The name of its process.
        id: Its number in the process.
        member_id: The id by which groups know it.
        user: The primary key of its user; None: nobody is logged in, or the setting
            ``TRACK_USERS`` is off.
        path: The path of its request.
        address: The address of the peer, as the server has told it; "" if unknown.
        view: In what the view runs: "thread", "greenlet", "task" (an async view),
            "handler" (nothing, while it is idle), or "request" (the server's thread; a
            middleware has opened the WebSocket); "" if unknown.
        transport: How the peer is reached: by its "socket", or by a "queue" to an ASGI
            server; "" if unknown.
        since: When it was opened: seconds since 1970.
        received_messages: Messages from the peer.
        received_bytes: The bytes of these messages.
        sent_messages: Messages to the peer.
        sent_bytes: The bytes of these messages.
        dropped: Messages lost to a full outbox.
        round_trip: The latest round-trip time in seconds; None before the first pong.
        outbox_messages: Messages that wait to be written to the peer.
        outbox_bytes: Their bytes.
        inbox_messages: Messages that wait for the view.
        inbox_bytes: Their bytes.
        closing: Whether no further message will come.
        groups: The number of its groups.
        some_groups: The names of the first groups.
    """

    process: str
    id: int
    member_id: str | None
    user: str | None
    path: str
    address: str
    view: str
    transport: str
    since: float
    received_messages: int
    received_bytes: int
    sent_messages: int
    sent_bytes: int
    dropped: int
    round_trip: float | None
    outbox_messages: int
    outbox_bytes: int
    inbox_messages: int
    inbox_bytes: int
    closing: bool
    groups: int
    some_groups: tuple[str, ...]


class Connections(NamedTuple):
    """A page of connections.

    Args:
        rows: The connections, by process and number.
        after: Call :func:`connections` with this for the next page; "": it is the last.
    """

    rows: list[Connection]
    after: str


class Group(NamedTuple):
    """A group with members.

    Args:
        name: Its name.
        members: Its members in all processes.
        processes: The processes in which it has members.
    """

    name: str
    members: int
    processes: int


class Groups(NamedTuple):
    """A page of groups.

    Args:
        rows: The groups, by name.
        after: Call :func:`groups` with this for the next page; "": it is the last.
    """

    rows: list[Group]
    after: str


def _page(limit: int) -> int:
    if not 1 <= limit <= _MOST:
        raise ValueError(f"a page has 1 to {_MOST} rows, not {limit}")
    return limit


def connections(
    after: str = "",
    limit: int = 100,
    *,
    search: str = "",
    user: str = "",
    scope: Scope = "site",
) -> Connections:
    """Return a page of the open connections of all processes.

    Args:
        after: The ``after`` of the page before; "": the first page.
        limit: The most rows, up to 500.
        search: Only connections with this text in their path, address, user or a
            group's name; upper and lower case are the same.
        user: Only the connections of the user with this primary key.
        scope: As for :func:`site`.

    Raises:
        ValueError: ``limit`` is out of its range, or ``after`` is no page's.
    """
    question = connections_question(after, limit, search=search, user=user)
    return connections_answered(asking.ask(question, scope), limit)


def connections_question(
    after: str, limit: int, *, search: str = "", user: str = "", **more: Any
) -> Answer:
    """Return the question for a page of connections.

    Args:
        after: As for :func:`connections`, like all others that have no line here.
        limit: The most rows.
        search: A text.
        user: A primary key.
        **more: ``group``: only its members. ``users``: users whose connections are
            found like those with the text. ``without_watchers``: leave pages of
            :mod:`dwebsocket.contrib.monitor` out.

    Raises:
        ValueError: As for :func:`connections`.
    """
    process, _, number = after.partition(":")
    return {
        "kind": "rows",
        "process": process,
        "after": int(number or 0),
        "limit": _page(limit),
        "search": search,
        "user": user,
        **more,
    }


def connections_answered(answers: Sequence[Answer], limit: int) -> Connections:
    """Return the page of connections that the processes have answered."""
    rows = [_row(answer, row) for answer in answers for row in answer.get("rows", ())]
    more = len(rows) > limit or any(answer.get("more") for answer in answers)
    rows = rows[:limit]
    return Connections(rows, f"{rows[-1].process}:{rows[-1].id}" if more else "")


def _row(answer: Answer, row: Answer) -> Connection:
    # The process may run another release, with more or fewer fields.
    values: Answer = {name: row.get(name) for name in Connection.__dataclass_fields__}
    values["process"] = answer["process"]
    values["view"] = row.get("view", "")
    values["transport"] = row.get("transport", "")
    values["some_groups"] = tuple(row.get("some_groups", ()))
    return Connection(**values)


def groups(
    after: str = "", limit: int = 100, *, search: str = "", scope: Scope = "site"
) -> Groups:
    """Return a page of the groups that have members, from all processes.

    Args:
        after: The ``after`` of the page before; "": the first page.
        limit: The most rows, up to 500.
        search: Only groups with this text in their name; upper and lower case are the
            same.
        scope: As for :func:`site`.

    Raises:
        ValueError: ``limit`` is out of its range.
    """
    question = groups_question(after, limit, search=search)
    return groups_answered(asking.ask(question, scope), limit)


def groups_question(after: str, limit: int, *, search: str = "") -> Answer:
    """Return the question for a page of groups.

    Raises:
        ValueError: As for :func:`groups`.
    """
    return {"kind": "groups", "after": after, "limit": _page(limit), "search": search}


def groups_answered(answers: Sequence[Answer], limit: int) -> Groups:
    """Return the page of groups that the processes have answered."""
    members: Counter[str] = Counter()
    processes: Counter[str] = Counter()
    for answer in answers:
        for row in answer.get("groups", ()):
            members[row["name"]] += row["members"]
            processes[row["name"]] += 1
    # The engine sorts names by their bytes, as str does by code points.
    names = sorted(members)
    more = len(names) > limit or any(answer.get("more") for answer in answers)
    rows = [Group(name, members[name], processes[name]) for name in names[:limit]]
    return Groups(rows, rows[-1].name if more and rows else "")


def close(
    process: str,
    ids: Iterable[int],
    code: int = 1000,
    reason: str = "",
    *,
    scope: Scope = "site",
) -> int:
    """Close connections of one process; return how many of them were open.

    :func:`close_all` closes all connections of a user, or all in a group.

    Args:
        process: The name of the process.
        ids: The numbers of the connections, up to 1,000.
        code: The close code.
        reason: The close reason.
        scope: As for :func:`site`.
    """
    question = {
        "kind": "close",
        "process": process,
        "ids": list(ids),
        "code": code,
        "reason": reason,
    }
    return sum(answer.get("closed", 0) for answer in asking.ask(question, scope))


def close_all(
    *,
    user: str = "",
    group: str = "",
    code: int = 4001,
    reason: str = "",
    scope: Scope = "site",
) -> int:
    """Close all connections of a user, or all in a group; return how many were open.

    Every process closes its own, with or without a broker; ``push.disconnect()``
    reaches other processes only over a broker. With both a user and a group, only the
    user's connections in the group are closed. Pages of
    :mod:`dwebsocket.contrib.monitor` stay.

    Args:
        user: The ``user`` of a :class:`Connection`: a primary key, and the tenant if
            the site has tenants.
        group: The name of the group.
        code: The close code. dwebsocket.js does not connect again after 4001.
        reason: The close reason.
        scope: As for :func:`site`.

    Raises:
        ValueError: Neither a user nor a group is given.
    """
    if not user and not group:
        raise ValueError("a user or a group is needed")
    question = {
        "kind": "close_all",
        "user": user,
        "group": group,
        "code": code,
        "reason": reason,
    }
    return sum(answer.get("closed", 0) for answer in asking.ask(question, scope))

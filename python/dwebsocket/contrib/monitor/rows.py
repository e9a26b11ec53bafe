"""What a page is told: a snapshot as JSON, and of it only what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dwebsocket.monitor import Connection, Process, Site

from .board import Snapshot, View
from .rates import Rate

__all__ = ("Changes", "Row", "shown")

#: An object of JSON.
Row = dict[str, Any]

#: Groups of a connection that are shown by name.
_GROUPS = 3


def shown(
    snapshot: Snapshot, view: View, names: Mapping[str, str]
) -> dict[str, tuple[list[Row], str]]:
    """Return the rows of each table, and where the next page begins.

    Args:
        snapshot: What the processes have answered.
        view: What the page wants to see.
        names: The names of users, by their keys.
    """
    processes = snapshot.site.processes
    where = {one.name: (one.machine, one.pid) for one in processes}
    connections = snapshot.connections[view.connections]
    groups = snapshot.groups[view.groups]
    rows = [
        _connection(row, snapshot.speeds.get((row.process, row.id)), names, where)
        for row in connections.rows
    ]
    others: list[Row] = [
        {"key": row.name, "members": row.members, "processes": row.processes}
        for row in groups.rows
    ]
    return {
        "site": ([_site(snapshot.site, snapshot.rates)], ""),
        "processes": ([_process(one) for one in processes], ""),
        "connections": (rows, connections.after),
        "groups": (others, groups.after),
    }


def _site(site: Site, rates: Rate | None) -> Row:
    counters = site.counters
    brokers = {one.broker for one in site.processes} - {"", "none"}
    addresses = sorted({one.broker_address for one in site.processes} - {""})

    def total(name: str) -> int:
        return sum(getattr(one, name) for one in site.processes)

    return {
        "key": "site",
        "connections": total("connections") - total("watchers"),
        "watchers": total("watchers"),
        "received": _rounded(rates and rates.received),
        "sent": _rounded(rates and rates.sent),
        "outbox_messages": total("outbox_messages"),
        "outbox_bytes": total("outbox_bytes"),
        "inbox_messages": total("inbox_messages"),
        "inbox_bytes": total("inbox_bytes"),
        "opened": counters.opened,
        "closed": _some(counters.closed),
        "refused": _some(counters.refused),
        "dropped": _some(counters.dropped),
        "view_errors": counters.view_errors,
        "lost": counters.lost,
        "broker": _worst(brokers),
        "broker_address": ", ".join(addresses),
        "broker_waiting": total("broker_waiting"),
    }


def _worst(states: set[str]) -> str:
    if not states:
        return "none"
    return "connected" if states == {"connected"} else "away"


def _some(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _process(one: Process) -> Row:
    if one.stopping:
        state = "stopping"
    else:
        # A process without a WebSocket cannot be asked yet.
        state = "ok" if one.answered or not one.connections else "silent"
    return {
        "key": one.name,
        "machine": one.machine,
        "pid": one.pid,
        "started": one.started,
        "connections": max(one.connections - one.watchers, 0),
        "outbox_messages": one.outbox_messages,
        "inbox_messages": one.inbox_messages,
        "groups": one.groups,
        "users": one.users,
        "broker": one.broker or "unknown",
        "state": state,
    }


def _connection(
    row: Connection,
    rate: Rate | None,
    names: Mapping[str, str],
    where: Mapping[str, tuple[str, int]],
) -> Row:
    machine, pid = where.get(row.process, ("", 0))
    return {
        "key": f"{row.process}:{row.id}",
        "machine": machine,
        "pid": pid,
        "user": row.user,
        "name": names.get(row.user or "", row.user),
        "path": row.path,
        "address": row.address,
        "view": row.view,
        "transport": row.transport,
        "since": int(row.since),
        "received": _rounded(rate and rate.received),
        "sent": _rounded(rate and rate.sent),
        "received_messages": row.received_messages,
        "sent_messages": row.sent_messages,
        "dropped": row.dropped,
        "round_trip": None if row.round_trip is None else round(row.round_trip, 4),
        "outbox_messages": row.outbox_messages,
        "outbox_bytes": row.outbox_bytes,
        "inbox_messages": row.inbox_messages,
        "groups": row.groups,
        "some_groups": row.some_groups[:_GROUPS],
        "closing": row.closing,
    }


def _rounded(rate: float | None) -> float | None:
    if rate is None:
        return None
    return round(rate, 1) if rate < 100 else float(round(rate))


class Changes:
    """Remembers what a page has been told, and finds what it has to be told."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {}
        self._next: dict[str, str] = {}

    def turn(self) -> None:
        """Tell again where the next pages begin: the page has another view now."""
        self._next.clear()

    def of(self, tables: Mapping[str, tuple[Iterable[Row], str]]) -> dict[str, Row]:
        """Return the changes of each table; tables without a change are left out.

        Args:
            tables: The rows of each table, and where the next page begins.

        Returns:
            For each table: ``rows`` that are new or have changed; ``order``, the keys
            of all rows, if it has changed; ``next``, where the next page begins.
        """
        found: dict[str, Row] = {}
        for name, (rows, after) in tables.items():
            now = {row["key"]: row for row in rows}
            known = name in self._rows
            before = self._rows.get(name, {})
            change: Row = {}
            changed = [row for key, row in now.items() if before.get(key) != row]
            if changed:
                change["rows"] = changed
            if not known or list(now) != list(before):
                change["order"] = list(now)
            if not known or after != self._next.get(name):
                change["next"] = after
            if change:
                found[name] = change
            self._rows[name], self._next[name] = now, after
        return found

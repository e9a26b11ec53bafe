"""What the pages of this process show: one asker for all of them.

Each page has a thread of its own, which waits for the page's messages and shows it the
latest snapshot every now and then. The first thread that needs a newer one asks all
processes, once, for what all pages of this process want to see; the others take it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dwebsocket.monitor import Connections, Groups, Site
from dwebsocket.monitor.listing import connections_question, groups_question
from dwebsocket.monitor.looking import look
from dwebsocket.process import fork

from .rates import Rate, Rates

__all__ = ("Board", "ConnectionsWanted", "GroupsWanted", "Snapshot", "View", "board")

#: Seconds between two rounds of questions.
INTERVAL = 2.0
#: The least seconds between two rounds, when somebody searches or turns the page.
GAP = 0.25
#: Rounds take at most this share of the time. (A process that is stopped makes each of
#: them take a second.)
SHARE = 0.25
#: The rows of one page.
ROWS = 50
#: The most different pages of each kind that one round asks for.
VIEWS = 16


class ConnectionsWanted(NamedTuple):
    """The connections that a page wants to see.

    Args:
        after: The ``after`` of the page before; "": the first page.
        search: A text in path, address, user or group.
        users: Users whose name has the text.
        user: Only the connections of this user.
        group: Only the connections in this group.
    """

    after: str = ""
    search: str = ""
    users: tuple[str, ...] = ()
    user: str = ""
    group: str = ""


class GroupsWanted(NamedTuple):
    """The groups that a page wants to see.

    Args:
        after: The ``after`` of the page before; "": the first page.
        search: A text in the name.
    """

    after: str = ""
    search: str = ""


class View(NamedTuple):
    """All that a page wants to see."""

    connections: ConnectionsWanted = ConnectionsWanted()
    groups: GroupsWanted = GroupsWanted()


@dataclass(frozen=True)
class Snapshot:
    """What the processes have answered.

    Args:
        at: When they were asked (monotonic).
        site: The figures.
        rates: How fast the site's counters rise, each second.
        speeds: The same for connections, by process and number.
        connections: Pages of connections.
        groups: Pages of groups.
    """

    at: float
    site: Site
    rates: Rate | None
    speeds: dict[tuple[str, int], Rate | None]
    connections: dict[ConnectionsWanted, Connections]
    groups: dict[GroupsWanted, Groups]

    def has(self, view: View) -> bool:
        """Return whether the snapshot has all that a page wants to see."""
        return view.connections in self.connections and view.groups in self.groups


@dataclass
class Board:
    """The latest snapshot, and what the open pages want to see.

    The board belongs to one process; a forked child begins with an empty one.
    """

    interval: float = INTERVAL
    _lock: fork.Lock = field(default_factory=fork.Lock)
    _views: dict[object, View] = field(default_factory=dict)
    _latest: Snapshot | None = None
    _pause: float = INTERVAL
    _site: Rates[str] = field(default_factory=lambda: Rates(INTERVAL))
    _rows: Rates[tuple[str, int]] = field(default_factory=lambda: Rates(INTERVAL))

    def forget(self) -> None:
        """Forget everything: the pages belong to the parent of a forked child."""
        self._views.clear()
        self._latest = None
        self._site = Rates(self.interval)
        self._rows = Rates(self.interval)

    @contextlib.contextmanager
    def opened(self, page: object) -> Iterator[None]:
        """Forget a page at the end."""
        try:
            yield
        finally:
            self.hide(page)

    def hide(self, page: object) -> None:
        """Do not ask for a page any more, until it looks again."""
        with self._lock:
            if self._views.pop(page, None) and not self._views:
                self.forget()

    def look(self, page: object, view: View) -> tuple[Snapshot | None, float]:
        """Return a snapshot with all that a page wants, and when to look again.

        Processes are asked if the latest snapshot is too old, or lacks something; but
        not at once, if they have just been asked: there is no snapshot then.

        Args:
            page: The page.
            view: What it wants to see.

        Returns:
            The snapshot, and the seconds until the next look.

        Raises:
            PermissionError: The figures of this machine cannot be read.
        """
        with self._lock:
            self._views[page] = view
            latest, now = self._latest, time.monotonic()
            if latest is not None:
                age = now - latest.at
                if latest.has(view) and age < self._pause:
                    return latest, self._pause - age
                if not latest.has(view) and age < GAP:
                    return None, GAP - age
            made = self._latest = self._ask(now)
            took = time.monotonic() - now
            self._pause = max(self.interval, took / SHARE)
            return made, max(self._pause - took, GAP)

    def _ask(self, now: float) -> Snapshot:
        """Ask for what all pages want, in as few rounds as possible."""
        wanted = list(dict.fromkeys(view.connections for view in self._views.values()))
        others = list(dict.fromkeys(view.groups for view in self._views.values()))
        connections: dict[ConnectionsWanted, Connections] = {}
        groups: dict[GroupsWanted, Groups] = {}
        site: Site | None = None
        for begin in range(0, max(len(wanted), len(others)), VIEWS):
            some, more = wanted[begin : begin + VIEWS], others[begin : begin + VIEWS]
            found = look([*map(_rows_of, some)], [*map(_groups_of, more)])
            connections.update(zip(some, found.connections, strict=True))
            groups.update(zip(more, found.groups, strict=True))
            site = site or found.site
        assert site is not None  # there is a view, that of the caller
        rows = {
            (row.process, row.id): (row.received_messages, row.sent_messages)
            for page in connections.values()
            for row in page.rows
        }
        parts = {
            key: (part.received_messages, part.sent_messages)
            for key, part in site.parts.items()
        }
        rate = Rate.total(self._site.update(now, parts).values())
        speeds = self._rows.update(now, rows)
        return Snapshot(now, site, rate, speeds, connections, groups)


def _rows_of(wanted: ConnectionsWanted) -> dict[str, object]:
    return connections_question(
        wanted.after,
        ROWS,
        search=wanted.search,
        user=wanted.user,
        users=list(wanted.users),
        group=wanted.group,
        without_watchers=True,
    )


def _groups_of(wanted: GroupsWanted) -> dict[str, object]:
    return groups_question(wanted.after, ROWS, search=wanted.search)


board = Board()
os.register_at_fork(after_in_child=board.forget)

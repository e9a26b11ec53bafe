"""The session of one open page: shows it what has changed, and closes connections."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from django.db import DatabaseError

from dwebsocket.exceptions import WebSocketClosed
from dwebsocket.logins import rights
from dwebsocket.monitor import Connection
from dwebsocket.session import Refused, Session
from dwebsocket.websocket import endpoint

from . import closing, permissions
from .board import ConnectionsWanted, GroupsWanted, View, board
from .rows import Changes, shown
from .users import Names, keys_of

__all__ = ("MonitorSession",)

#: Seconds between two checks that the user may still see the page.
CHECK = 5.0
#: Updates that wait for a page that reads slowly, before one is left out.
WAITING = 2
#: The longest text of a search.
LONGEST = 200
#: The longest name of a group or key of a user; the hub takes no longer ones.
NAME = 255


class Wish(NamedTuple):
    """A message of the page.

    Args:
        data: The message.
    """

    data: dict[str, Any]

    def text(self, name: str, longest: int = NAME) -> str:
        """Return a text of the message.

        Raises:
            Refused: It is no text, or too long.
        """
        value = self.data.get(name, "")
        if not isinstance(value, str) or len(value) > longest:
            raise Refused("invalid", f"{name} is a text of up to {longest} characters")
        return value

    def cursor(self, name: str) -> str:
        """Return where a page of connections begins.

        Raises:
            Refused: It is not what the server has said.
        """
        value = self.text(name)
        number = value.partition(":")[2]
        if value and not (number.isascii() and number.isdecimal()):
            raise Refused("invalid", f"{name} does not come from this server")
        return value


class MonitorSession(Session):
    """The session of a page of a member of the staff."""

    rate = 5.0
    burst = 30

    def __init__(self, websocket: Any, request: Any) -> None:
        super().__init__(websocket, request)
        #: What the page wants to see; None: it is hidden, or has not said it yet.
        self._view: View | None = None
        #: The number that the page has given to this view.
        self._number = 0
        self._due = 0.0
        self._may_close: bool | None = None
        self._told: dict[str, Any] = {}
        self._changes = Changes()
        self._names = Names()
        #: The connections that the page shows, by their keys.
        self._rows: dict[str, Connection] = {}

    def run(self) -> None:
        """Serve the page until it goes."""
        endpoint.of(self.websocket).connection.watch_site()
        # Also if the settings want no checks of other views.
        self.websocket.watch(CHECK, self._is_allowed)
        with board.opened(self):
            super().run()

    def on_data(self, data: Any) -> None:
        """Handle ``{"monitor": "view", ..}``, ``"hide"`` and ``"close"``.

        Raises:
            Refused: The data is none of these.
        """
        wish = data.get("monitor") if isinstance(data, dict) else None
        if wish == "view":
            self._look_at(Wish(data))
        elif wish == "hide":
            self._view = None
            board.hide(self)
        elif wish == "close":
            self._close(Wish(data))
        else:
            raise Refused("invalid", 'a "monitor" of view, hide or close is needed')

    def _is_allowed(self) -> bool:
        """Return whether the user may still see the page; the watcher asks.

        The page also learns whether its user may close connections.
        """
        request = permissions.fresh(self.request)
        if request is None or not permissions.may_see(request):
            return False
        self._may_close = permissions.may_close(request)
        return True

    def _look_at(self, wish: Wish) -> None:
        number = wish.data.get("number")
        if type(number) is not int:
            raise Refused("invalid", "the number of the view is needed")
        search = wish.text("search", LONGEST).strip()
        connections = ConnectionsWanted(
            wish.cursor("after"),
            search,
            keys_of(search),
            wish.text("user"),
            wish.text("group"),
        )
        groups = GroupsWanted(wish.text("groups_after"), search)
        self._view, self._number = View(connections, groups), number
        self._changes.turn()
        self._due = 0.0

    def _rest(self) -> float | None:
        """Show the page what has changed; return the seconds until the next look."""
        if self._view is None:
            return None
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._show(self._view)
        return max(self._due - time.monotonic(), 0.001)

    def _show(self, view: View) -> float:
        """Send an update; return the seconds until the next one."""
        if endpoint.of(self.websocket).connection.stats["outbox_messages"] > WAITING:
            return board.interval
        try:
            snapshot, wait = board.look(self, view)
        except OSError as error:
            closing.trouble.note(error)
            return board.interval
        closing.trouble.over()
        if snapshot is None:
            return wait
        connections = snapshot.connections[view.connections].rows
        self._rows = {f"{row.process}:{row.id}": row for row in connections}
        names = self._names.of(row.user for row in connections if row.user)
        changes = self._changes.of(shown(snapshot, view, names))
        if self._may_close is None:
            self._may_close = permissions.may_close(self.request)
        about = {"number": self._number, "may_close": self._may_close}
        if changes or about != self._told:
            self.send_data({"monitor": "update", **about, **changes})
            self._told = about
        return wait

    def _close(self, wish: Wish) -> None:
        number, key = wish.data.get("number"), wish.text("key")
        try:
            closed = self._closed(key, wish)
        except Refused as error:
            self.send_data({"monitor": "refused", "number": number, "code": error.code})
        else:
            self.send_data({"monitor": "closed", "number": number, "closed": closed})
            self._due = 0.0

    def _closed(self, key: str, wish: Wish) -> int:
        """Close what the page's user has chosen; return how many were open."""
        row = self._rows.get(key)
        if row is None:
            raise Refused("gone", "the connection is not on the page any longer")
        if not self.websocket.recheck():
            raise WebSocketClosed(rights.LOGGED_OUT, self.websocket.close_reason)
        try:
            # Read now: a permission may have been taken away since the last check.
            request = permissions.fresh(self.request)
        except DatabaseError as error:
            closing.trouble.note(error)
            raise Refused("unavailable", "the permission cannot be read") from error
        if request is None or not permissions.may_close(request):
            closing.refused(self.request, row)
            raise Refused("forbidden", "you may not close connections")
        every, again = (wish.data.get(name) is True for name in ("all", "again"))
        try:
            if every:
                return closing.close_all(request, row, again)
            return closing.close(request, row, again)
        except OSError as error:
            closing.trouble.note(error)
            raise Refused("unavailable", "not all processes can be asked") from error

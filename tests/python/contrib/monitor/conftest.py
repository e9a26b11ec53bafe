"""Members of the staff, and the page as they see it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from dwebsocket import _engine, testing
from dwebsocket.contrib.monitor import board, closing, users
from dwebsocket.monitor import asking

from . import views

LIVE = "/admin/websockets/live/"
#: Seconds until a test gives up.
PATIENCE = 10.0


@pytest.fixture(autouse=True)
def urls(monkeypatch: pytest.MonkeyPatch, tables: None) -> Iterator[None]:
    """Serve the views, and ask the processes often."""
    monkeypatch.setattr(board.board, "interval", 0.05)
    monkeypatch.setattr(board, "GAP", 0.01)
    board.board.forget()
    deadline = time.monotonic() + PATIENCE
    while _engine.connection_count() and time.monotonic() < deadline:
        time.sleep(0.01)  # those of the test before, which no event reports
    # The other processes of this test run are processes of the same site.
    monkeypatch.setattr(asking, "here", lambda: asking.Here([]))
    for trouble in (closing.trouble, users.trouble):
        # Such lines come once a minute.
        monkeypatch.setattr(trouble, "_logged", 0.0)
    with override_settings(ROOT_URLCONF=views.__name__):
        yield
    assert not board.board._views


def user(name: str, *permissions: str, **fields: Any) -> User:
    made = User.objects.create_user(name, **fields)
    for permission in permissions:
        made.user_permissions.add(Permission.objects.get(codename=permission))
    return made


@pytest.fixture
def ana() -> User:
    """Return a member of the staff who may close connections."""
    return user("ana", "close_connection", is_staff=True)


@pytest.fixture
def eve() -> User:
    """Return a member of the staff who may only look."""
    return user("eve", is_staff=True)


def client_of(member: User | None) -> Client:
    client = Client()
    if member is not None:
        client.force_login(member)
    return client


class Page:
    """An open page: keeps what it was told, as the page's script does."""

    def __init__(self, ws: Any) -> None:
        self.ws = ws
        self.number = 0
        self.frames: list[dict[str, Any]] = []
        self.tables: dict[str, dict[str, dict[str, Any]]] = {}
        self.next: dict[str, str] = {}
        self.may_close: bool | None = None
        assert ws.receive_json(timeout=PATIENCE)["type"] == "welcome"

    def say(self, **data: Any) -> None:
        self.ws.send_json({"type": "data", "data": data})

    def hear(self) -> dict[str, Any]:
        """Return the next frame of the application."""
        frame = self.ws.receive_json(timeout=PATIENCE)
        assert frame["type"] == "data", frame
        data: dict[str, Any] = frame["data"]
        self.frames.append(data)
        if data["monitor"] == "update":
            self._update(data)
        return data

    def _update(self, data: dict[str, Any]) -> None:
        self.may_close = data["may_close"]
        for name in ("site", "processes", "connections", "groups"):
            change = data.get(name, {})
            known = self.tables.setdefault(name, {})
            known.update({row["key"]: row for row in change.get("rows", ())})
            if "order" in change:
                self.tables[name] = {key: known[key] for key in change["order"]}
            if "next" in change:
                self.next[name] = change["next"]

    def view(self, **wanted: Any) -> None:
        """Say what is to be seen, and wait for the first answer."""
        self.number += 1
        self.say(monitor="view", number=self.number, **wanted)
        while not (self.frames and self.frames[-1].get("number") == self.number):
            self.hear()

    def until(self, check: Callable[[], Any]) -> None:
        while not check():
            self.hear()

    def rows(self, name: str = "connections") -> list[dict[str, Any]]:
        return list(self.tables[name].values())

    def paths(self) -> list[str]:
        return [row["path"] for row in self.rows()]

    @property
    def site(self) -> dict[str, Any]:
        return self.tables["site"]["site"]

    def close(self, path: str, **choice: Any) -> dict[str, Any]:
        """Close the connection to a path; return the answer."""
        key = next(row["key"] for row in self.rows() if row["path"] == path)
        self.number += 1
        self.say(monitor="close", number=self.number, key=key, **choice)
        while True:
            data = self.hear()
            if data["monitor"] != "update":
                return data


@pytest.fixture
def opened() -> Callable[..., Any]:
    """Return a function that opens a page for a member of the staff."""

    @contextlib.contextmanager
    def open_page(member: User) -> Iterator[Page]:
        with testing.connect(client_of(member), LIVE) as ws:
            yield Page(ws)

    return open_page


@pytest.fixture
def visit() -> Callable[..., Any]:
    """Return a function that opens a WebSocket, which has joined a group."""

    @contextlib.contextmanager
    def connect(name: str, member: User | None = None) -> Iterator[Any]:
        with testing.connect(client_of(member), f"/room/{name}") as ws:
            assert ws.receive(timeout=PATIENCE) == "joined"
            yield ws

    return connect

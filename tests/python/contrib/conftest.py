"""What the tests of the contrib apps share: a database that views' threads see, too."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client

from tests.python.live import Site

T = TypeVar("T")


@contextmanager
def database(file: Path) -> Iterator[None]:
    """Have each thread open connections to a database in a file."""
    options = connections.settings["default"]
    before = dict(options)
    connections.close_all()
    # The connection of this thread has the options of before.
    mine = connections["default"]
    del connections["default"]
    options["NAME"] = str(file)
    try:
        yield
    finally:
        connections.close_all()
        options.clear()
        options.update(before)
        connections["default"] = mine


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, django_db_blocker) -> Path:
    file = tmp_path_factory.mktemp("database") / "empty.sqlite3"
    with django_db_blocker.unblock(), database(file):
        call_command("migrate", verbosity=0)
    return file


@pytest.fixture
def tables(empty_database: Path, tmp_path: Path, django_db_blocker) -> Iterator[None]:
    """Give the test a database of its own, with all tables."""
    file = tmp_path / "db.sqlite3"
    shutil.copy(empty_database, file)
    with django_db_blocker.unblock(), database(file):
        yield


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose synchronous parts use the test's database.

    The thread that asgiref has for those outlives the test, and so would a connection.
    """

    def forget() -> None:
        wrapper = connections["default"]
        if wrapper.connection is not None:
            wrapper.connection.close()
        del connections["default"]

    async def main() -> T:
        await sync_to_async(forget)()
        try:
            return await coroutine
        finally:
            await sync_to_async(forget)()

    return asyncio.run(main())


@pytest.fixture
def make_user(tables: None) -> Callable[[str], Any]:
    from django.contrib.auth import get_user_model

    return lambda name: get_user_model().objects.create_user(name)


def cookie_of(user: Any) -> dict[str, str]:
    """Return the headers of somebody who is logged in."""
    client = Client()
    client.force_login(user)
    return {"Cookie": f"sessionid={client.cookies[settings.SESSION_COOKIE_NAME].value}"}


class Page:
    """Speaks the protocol of sessions, as dwebsocket.js does."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.welcome = self.hear("welcome")

    def say(self, **frame: Any) -> None:
        self.connection.send(json.dumps(frame))

    def data(self, **data: Any) -> None:
        self.say(type="data", data=data)

    def next(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.connection.recv(10))
        return frame

    def hear(self, kind: str) -> dict[str, Any]:
        """Return the next frame of a type, past the others."""
        while True:
            frame = self.next()
            if frame["type"] == kind:
                return frame


Visit = Callable[..., "AbstractContextManager[Page]"]


def visiting(site: Site, route: str) -> Visit:
    """Return a function that opens a page's connection, for somebody or nobody."""

    @contextmanager
    def visit(user: Any = None) -> Iterator[Page]:
        headers = cookie_of(user) if user else {}
        with site.connect(route, additional_headers=headers) as connection:
            yield Page(connection)

    return visit

"""What the tests of the contrib apps share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.test import Client

from tests.python.live import Site

T = TypeVar("T")


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
        self.welcome = self.next()

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

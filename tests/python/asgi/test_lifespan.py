"""The beginning and the end of a server's process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from dwebsocket.asgi import application
from dwebsocket.process import exit

from .server import Server


@pytest.fixture(autouse=True)
def departed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(exit, "depart", lambda at_once: calls.append("departed"))
    return calls


async def live(inner: Any) -> list[str]:
    server = Server(application(inner), type="lifespan")
    heard = []
    for kind in ("lifespan.startup", "lifespan.shutdown"):
        server.say(kind)
        heard.append((await server.hear())["type"])
    await server.ended()
    return heard


COMPLETE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_djangos_application_knows_no_lifespan(departed: list[str]):
    assert asyncio.run(live(get_asgi_application())) == COMPLETE
    assert departed == ["departed"]


def test_an_application_that_knows_it_is_asked(departed: list[str]):
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            event = await receive()
            seen.append((event["type"], list(departed)))
            await send({"type": f"{event['type']}.complete"})

    assert asyncio.run(live(inner)) == COMPLETE
    # The connections are closed before the application hears of the end.
    assert seen == [("lifespan.startup", []), ("lifespan.shutdown", ["departed"])]


def test_an_application_that_ends_early(departed: list[str]):
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    assert asyncio.run(live(inner)) == COMPLETE
    assert departed == ["departed"]


def test_a_failure_at_the_start_is_passed_on():
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})
        raise RuntimeError("no")

    async def test() -> None:
        server = Server(application(inner), type="lifespan")
        server.say("lifespan.startup")
        assert (await server.hear())["type"] == "lifespan.startup.failed"
        with pytest.raises(RuntimeError):
            await server.ended()

    asyncio.run(test())

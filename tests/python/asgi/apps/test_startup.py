"""The lifespan of applications that are views."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from dwebsocket.asgi.apps import startup
from dwebsocket.runners import tasks


@pytest.fixture(autouse=True)
def lives() -> Iterator[None]:
    """Leave the lives of other tests alone."""
    others = dict(startup._lives)
    startup._lives.clear()
    yield
    startup._lives.clear()
    startup._lives.update(others)


def in_loop(make: Callable[[], Awaitable[Any]]) -> Any:
    """Await something in the event loop of the views."""
    tasks.runner.event_loop()
    loop: Any = tasks.runner._loop
    return asyncio.run_coroutine_threadsafe(_awaited(make), loop.asyncio).result(20)


async def _awaited(make: Callable[[], Awaitable[Any]]) -> Any:
    return await make()


def state(app: Any) -> Any:
    return in_loop(lambda: startup.state_of(app))


def test_it_begins_once_and_ends_once() -> None:
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        heard.append(await receive())
        scope["state"]["pool"] = "a pool"
        await asyncio.sleep(0.01)
        await send({"type": "lifespan.startup.complete"})
        heard.append(await receive())
        await send({"type": "lifespan.shutdown.complete"})

    async def both() -> Any:
        return await asyncio.gather(*(startup.state_of(app) for _ in range(3)))

    found = in_loop(both)
    assert found == [{"pool": "a pool"}] * 3
    found[0]["pool"] = "another"
    assert state(app) == {"pool": "a pool"}
    assert startup._end(10)
    assert [event["type"] for event in heard] == [
        "lifespan.startup",
        "lifespan.shutdown",
    ]
    assert startup._end(10)
    assert len(heard) == 2


def test_a_cancelled_handshake_does_not_disturb_the_others() -> None:
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await go_on.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()

    async def talk() -> Any:
        first = asyncio.ensure_future(startup.state_of(app))
        second = asyncio.ensure_future(startup.state_of(app))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        go_on.set()
        return await second

    assert in_loop(talk) == {}
    assert startup._end(10)


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("unknown scope")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def does_not_look(scope: Any, receive: Any, send: Any) -> None:
    while True:
        await receive()


async def speaks_of_websockets(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize("app", [raises, returns, does_not_look, speaks_of_websockets])
def test_applications_without_a_lifespan(app: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "dwebsocket")
    assert state(app) == {}
    assert not caplog.records
    # One that never ends is cancelled with the loop.
    if app is does_not_look:
        life = startup._lives[id(app)]
        tasks.runner.call(life.task.cancel)
    assert startup._end(10)


def test_a_beginning_that_fails_is_tried_again(caplog: Any) -> None:
    tries: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        tries.append(1)
        if len(tries) == 1:
            message = "no database"
            await send({"type": "lifespan.startup.failed", "message": message})
            raise RuntimeError("as Starlette does")
        await send({"type": "lifespan.startup.complete"})
        await receive()

    with pytest.raises(
        RuntimeError, match=r"app could not start \(lifespan\): no data"
    ):
        state(app)
    assert state(app) == {}
    assert len(tries) == 2
    assert startup._end(10)


def test_an_end_that_fails_is_logged(caplog: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "still full"})
        raise RuntimeError("afterwards")

    assert state(app) == {}
    assert startup._end(10)
    assert "has not ended well: still full" in caplog.text
    assert "afterwards" in caplog.text


def test_an_end_that_takes_too_long_is_logged(
    caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "_FLOOR", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await asyncio.sleep(600)

    assert state(app) == {}
    task = startup._lives[id(app)].task
    assert startup._end(0)
    assert "has not ended in time" in caplog.text
    tasks.runner.call(task.cancel)

"""Stops of servers that do not say in time that they stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dwebsocket.asgi import stopping
from dwebsocket.process import exit


@pytest.fixture(autouse=True)
def departed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    calls: list[bool] = []
    monkeypatch.setattr(exit, "depart", lambda at_once: calls.append(at_once))
    monkeypatch.setattr(stopping, "_followed", None)
    return calls


def owner(module: str, **attributes: Any) -> Any:
    made = type("Owner", (), {"__module__": module, "send": lambda self: None})()
    vars(made).update(attributes)
    return made


def test_the_departure_waits_for_what_is_carried(
    monkeypatch: pytest.MonkeyPatch, departed: list[bool]
):
    left = [2, 2, 1, 0]
    monkeypatch.setattr(stopping, "carried", lambda: left.pop(0))
    stopping.depart()
    assert left == []
    # Those that the server carries are closed at once.
    assert departed == [True]


def test_hypercorns_worker_is_told_by_an_event(departed: list[bool]):
    async def test() -> None:
        context = SimpleNamespace(terminated=asyncio.Event())
        stream = owner("hypercorn.protocol.ws_stream", context=context)
        for _ in range(2):
            stopping.follow(stream.send)
        assert len(stopping._tasks) == 1
        assert not departed
        context.terminated.set()
        await asyncio.gather(*stopping._tasks)
        assert departed == [False]
        # Another release keeps the event elsewhere.
        stopping.follow(owner("hypercorn.protocol.ws_stream", context=object()).send)

    asyncio.run(asyncio.wait_for(test(), 20))
    assert not stopping._tasks


def test_the_reactor_of_daphne_waits(
    monkeypatch: pytest.MonkeyPatch, departed: list[bool]
):
    triggers: list[Any] = []
    reactor = SimpleNamespace(
        running=False, addSystemEventTrigger=lambda *args: triggers.append(args)
    )
    threads: Any = ModuleType("twisted.internet.threads")
    threads.deferToThread = lambda function: function()
    for name in ("twisted", "twisted.internet"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "twisted.internet.threads", threads)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)
    send = owner("somebody.else").send
    # Something else of the site has imported Twisted.
    stopping.follow(send)
    assert not triggers
    reactor.running = True
    stopping.follow(send)
    stopping.follow(send)
    [(phase, event, call, *args)] = triggers
    assert (phase, event) == ("before", "shutdown")
    call(*args)
    assert departed == [False]


def test_granian_hears_of_the_signal_after_the_goodbye(
    monkeypatch: pytest.MonkeyPatch, departed: list[bool]
):
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor", raising=False)
    monkeypatch.setitem(sys.modules, "granian", ModuleType("granian"))
    told = asyncio.Event()
    event = SimpleNamespace(set=told.set)

    async def test() -> None:
        stopping.follow(owner("granian.asgi").send)
        os.kill(os.getpid(), signal.SIGTERM)
        await told.wait()
        assert departed == [False]

    # As granian's function that runs the loop.
    source = "def work(shutdown_event, run):\n    run()\n"
    names: dict[str, Any] = {"__name__": "granian.server.mp"}
    exec(source, names)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        names["work"](event, lambda: asyncio.run(asyncio.wait_for(test(), 20)))
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_a_granian_that_hides_its_event_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor", raising=False)
    monkeypatch.setitem(sys.modules, "granian", ModuleType("granian"))

    async def test() -> None:
        stopping.follow(owner("granian.asgi").send)

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(test())
    assert signal.getsignal(signal.SIGTERM) == before

"""The threads of the synchronous calls of asynchronous views."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import close_old_connections

from dwebsocket import context
from dwebsocket.process import databases
from dwebsocket.runners import calls
from dwebsocket.runners.acall import make_sensitive
from dwebsocket.runners.calls import Calls


def run(talk: Any) -> Any:
    """Run a coroutine function with calls of its own."""

    async def sensitive() -> Any:
        own = Calls()
        make_sensitive(own)
        try:
            return await talk(own)
        finally:
            own.end()

    return asyncio.run(sensitive())


def test_a_connection_without_a_thread_has_nothing_to_close() -> None:
    """Channels asks for this before each message."""

    async def talk(own: Calls) -> Any:
        before = threading.active_count()
        assert await sync_to_async(close_old_connections)() is None
        return own.worker, threading.active_count() - before

    assert run(talk) == (None, 0)


def test_with_a_thread_the_call_is_made_there(monkeypatch: Any) -> None:
    made: list[Any] = []
    put = calls.Worker.put
    # As if the thread had a database connection.
    held = [True]
    monkeypatch.setattr(databases, "held", lambda: held[0])

    def note(worker: Any, work: Any) -> None:
        made.append(work)
        put(worker, work)

    monkeypatch.setattr(calls.Worker, "put", note)

    async def talk(own: Calls) -> None:
        await sync_to_async(threading.get_ident)()
        assert own.worker is not None
        await sync_to_async(close_old_connections)()
        assert len(made) == 2
        held[0] = False

    run(talk)


def test_a_hook_that_fails_in_the_thread_fails_the_call(monkeypatch: Any) -> None:
    """The thread lives on, and the next call tries again."""
    fails = [True]

    class Hook:
        def __enter__(self) -> None:
            if fails:
                raise ValueError("wrong on purpose")

        def __exit__(self, *exc_info: object) -> None:
            pass

    # As if the thread had a database connection.
    held = [True]
    monkeypatch.setattr(databases, "held", lambda: held[0])

    async def talk(own: Calls) -> Any:
        own.carried = context.carried(None)
        call = sync_to_async(threading.get_ident)
        with pytest.raises(ValueError, match="on purpose"):
            await asyncio.wait_for(call(), 20)
        worker = own.worker
        fails.clear()
        thread = await asyncio.wait_for(call(), 20)
        held[0] = False
        return thread != threading.get_ident(), own.worker is worker

    monkeypatch.setattr("dwebsocket.context._hooks", [lambda request: Hook()])
    assert run(talk) == (True, True)

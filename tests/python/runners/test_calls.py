"""The threads of the synchronous calls of asynchronous views."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import close_old_connections

from dwebsocket import context
from dwebsocket.process import databases, native
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


class Own:
    """The calls of one connection, for tests with several."""

    def __init__(self) -> None:
        self.calls = Calls()

    async def make(self, function: Any, *args: Any) -> Any:
        """Make a call as ``sync_to_async`` does."""
        return await asyncio.wait_for(self.calls.submit(function, *args), 20)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pool without threads; those that it gets end with the test."""
    pool = calls.Pool()
    monkeypatch.setattr(calls, "_pool", pool)
    monkeypatch.setattr(calls, "KEEP", 0.01)
    yield pool
    for worker in list(pool._parked):
        worker.put(calls._LOOK)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function after whose call no thread can be started."""

    def fail(*args: Any) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    return lambda: monkeypatch.setattr(native, "start_thread", fail)


@pytest.mark.usefixtures("pool")
def test_without_any_thread_the_call_fails(no_threads: Any) -> None:
    no_threads()

    async def talk() -> None:
        own = Own()
        with pytest.raises(RuntimeError, match="new thread"):
            await own.make(threading.get_ident)
        assert own.calls.worker is None

    asyncio.run(talk())
    assert not calls._pool.is_short()


@pytest.mark.usefixtures("pool")
def test_calls_that_get_no_thread_wait_for_one(no_threads: Any) -> None:
    go = threading.Event()

    def block() -> int:
        assert go.wait(20)
        return threading.get_ident()

    async def talk() -> None:
        first = asyncio.create_task(Own().make(block))
        await asyncio.sleep(0)
        no_threads()
        others = [Own() for _ in range(3)]
        waiting = [
            asyncio.create_task(other.make(threading.get_ident)) for other in others
        ]
        await asyncio.sleep(0)
        # Further calls of such a connection come after its first one.
        again = asyncio.create_task(others[0].make(threading.get_ident))
        await asyncio.sleep(0)
        assert calls._pool.is_short()
        go.set()
        threads = await asyncio.gather(first, again, *waiting)
        assert set(threads) == {threads[0]}
        assert not calls._pool.is_short()

    asyncio.run(talk())


@pytest.mark.usefixtures("pool")
def test_threads_start_again_for_all_that_wait(
    no_threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    start = native.start_thread

    async def talk() -> None:
        first = asyncio.create_task(Own().make(go.wait, 20))
        await asyncio.sleep(0)
        no_threads()
        second = asyncio.create_task(Own().make(threading.get_ident))
        await asyncio.sleep(0)
        monkeypatch.setattr(native, "start_thread", start)
        await Own().make(threading.get_ident)
        await second
        go.set()
        assert await first

    asyncio.run(talk())


@pytest.mark.usefixtures("pool")
def test_a_thread_that_others_wait_for_keeps_no_database_connection(
    no_threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    monkeypatch.setattr(databases, "held", held.is_set)

    def let_go(everything: bool = False) -> None:
        if everything:
            held.clear()

    monkeypatch.setattr(databases, "let_go", let_go)
    monkeypatch.setattr(databases, "KEEP", 60.0)

    async def talk() -> None:
        keeps, needs = Own(), Own()
        await keeps.make(held.set)
        assert keeps.calls.worker is not None
        no_threads()
        await needs.make(threading.get_ident)
        assert keeps.calls.worker is None

    asyncio.run(talk())


def test_kept_threads_stay_and_others_end(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more waits, however many have calls."""
    ended = threading.Semaphore(0)
    refused = threading.Semaphore(0)
    unpark = pool.unpark

    def note(worker: Any) -> bool:
        over: bool = unpark(worker)
        (ended if over else refused).release()
        return over

    monkeypatch.setattr(pool, "unpark", note)
    calls.keep(1)
    assert len(pool._parked) == 1
    go = threading.Event()

    async def talk() -> None:
        block = [asyncio.create_task(Own().make(go.wait, 20)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (len(pool._busy), len(pool._parked)) == (2, 1)
        go.set()
        await asyncio.gather(*block)

    asyncio.run(talk())
    assert ended.acquire(timeout=20)
    assert ended.acquire(timeout=20)
    assert len(pool._parked) == 1
    calls.keep(-1)
    assert ended.acquire(timeout=20)
    assert not pool._parked


@pytest.mark.usefixtures("pool")
def test_a_failure_in_the_thread_is_logged_and_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(everything: bool = False) -> None:
        raise ValueError("wrong on purpose")

    # As if the thread had a database connection.
    held = [True]
    monkeypatch.setattr(databases, "held", lambda: held[0])

    async def talk() -> None:
        own = Own()
        thread = await own.make(threading.get_ident)
        monkeypatch.setattr(databases, "let_go", fail)
        own.calls.rest()
        assert await own.make(threading.get_ident) == thread
        held[0] = False

    asyncio.run(talk())
    assert [
        str(record.exc_info[1]) for record in caplog.records if record.exc_info
    ] == ["wrong on purpose"]

"""The default executor of the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from dwebsocket import websocket
from dwebsocket.process import native
from dwebsocket.runners import calls
from dwebsocket.runners.executor import DefaultExecutor


def run(talk: Any, threads: int = 2) -> Any:
    """Run a coroutine function in a loop with such an executor."""

    async def begin() -> Any:
        loop = asyncio.get_running_loop()
        executor = DefaultExecutor(loop)
        del executor._idle[threads:]
        loop.set_default_executor(executor)
        return await asyncio.wait_for(talk(), 30)

    return asyncio.run(begin())


def test_its_threads_do_not_hold_up_the_end() -> None:
    async def talk() -> threading.Thread:
        return await asyncio.to_thread(threading.current_thread)

    thread = run(talk)
    assert thread.daemon
    assert thread.name == "websocket-calls"


def test_arguments_results_and_exceptions_pass() -> None:
    async def talk() -> None:
        assert await asyncio.to_thread(int, "11", base=2) == 3
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.to_thread(int, "x")

    run(talk)


def test_so_many_calls_run_at_a_time_and_others_wait() -> None:
    lock = threading.Lock()
    running, most = 0, 0
    both = threading.Barrier(2)

    def call(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        # Two do run at a time.
        both.wait(20)
        with lock:
            running -= 1
        return number

    async def talk() -> list[int]:
        return await asyncio.gather(
            *[asyncio.to_thread(call, number) for number in range(10)]
        )

    assert run(talk) == list(range(10))
    assert most == 2


def test_a_call_that_is_cancelled_while_it_waits_is_not_made() -> None:
    go = threading.Event()
    made: list[str] = []

    async def talk() -> None:
        first = asyncio.create_task(asyncio.to_thread(go.wait, 20))
        second = asyncio.create_task(asyncio.to_thread(made.append, "cancelled"))
        third = asyncio.create_task(asyncio.to_thread(made.append, "third"))
        await asyncio.sleep(0)
        second.cancel()
        go.set()
        await asyncio.gather(first, third)

    run(talk, threads=1)
    assert made == ["third"]


def test_another_thread_may_use_it() -> None:
    async def talk() -> Any:
        loop = asyncio.get_running_loop()

        def ask() -> Any:
            return loop.run_in_executor(None, threading.get_ident)

        return await (await asyncio.to_thread(ask))

    assert run(talk) != threading.get_ident()


def test_without_a_thread_it_fails_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(calls, "_pool", calls.Pool())

    async def talk() -> int:
        with monkeypatch.context() as patch:
            patch.setattr(native, "start_thread", fail)
            with pytest.raises(RuntimeError, match="new thread"):
                await asyncio.to_thread(threading.get_ident)
        return await asyncio.to_thread(threading.get_ident)

    assert run(talk, threads=1) != threading.get_ident()


def test_views_have_it(site: Any) -> None:
    @websocket
    async def view(request: Any) -> None:
        name = await asyncio.to_thread(lambda: threading.current_thread().name)
        await request.websocket.send(name)

    with site({"": view}).connect() as peer:
        assert peer.recv(20) == "websocket-calls"

"""The asynchronous twin, without a database; project/cases.py has what needs one."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from django.test import AsyncClient, Client

from dwebsocket.exceptions import ReceiveTimeout, WebSocketClosed
from dwebsocket.testing import ViewNotEnded, WebSocketRefused, aconnect
from dwebsocket.testing.frames import PING, PONG, TEXT

from . import views


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_every_call() -> None:
    async def test() -> None:
        offer = {"subprotocols": ["v1"], "compression": True}
        async with aconnect(AsyncClient(), "/spoken/", **offer) as ws:
            assert (ws.subprotocol, ws.compressed) == ("v1", True)
            assert ws.response.status_code == 101
            assert ws.headers["Upgrade"] == "websocket"
            assert await ws.receive() == "v1"
        async with aconnect(Client(), "/echo/") as ws:
            await ws.send("a")
            assert await ws.receive() == "a"
            await ws.send_json({"b": 1})
            assert await ws.receive_json() == {"b": 1}
            await ws.ping()
            await ws.settle()
            await ws.receive_nothing(0.02)
            await ws.send_frame(TEXT, b"c")
            assert await ws.receive() == "c"
            assert (ws.close_code, ws.view_error) == (None, None)
            await ws.close(3000, "done")
            assert (ws.close_code, ws.close_reason) == (3000, "")
            with pytest.raises(WebSocketClosed):
                await ws.receive()
        async with aconnect(Client(), "/echo/", raw=True) as ws:
            await ws.send_frame(PING, b"p")
            assert (await ws.receive_frame())[:2] == (PONG, b"p")
            await ws.send_bytes(b"\xff" * 20)
            assert ws.close_code == 1002
        async with aconnect(Client(), "/slow/") as ws:
            await ws.drop()
            assert await ws.wait_closed() == 1006
        assert views.done == ["end"]

    run(test())
    assert not [t for t in threading.enumerate() if re.match(r"websocket-\d", t.name)]


def test_it_may_be_awaited_and_iterated() -> None:
    async def test() -> None:
        ws = await aconnect(Client(), "/closes/")
        await ws.send("more")
        assert [message async for message in ws] == []
        await ws.leave()
        async with await aconnect(Client(), "/echo/") as ws:
            assert ws.close_code is None

    run(test())


def test_refusals_and_errors() -> None:
    async def test() -> None:
        with pytest.raises(WebSocketRefused):
            await aconnect(Client(), "/plain/")
        with pytest.raises(ValueError, match="the view has failed"):
            async with aconnect(Client(), "/fails/"):
                pass
        async with aconnect(Client(), "/fails/") as ws:
            assert str(ws.view_error) == "the view has failed"
        with pytest.raises(ViewNotEnded):
            async with aconnect(Client(), "/hangs/", timeout=0.1):
                pass

    run(test())


def test_the_loop_goes_on_while_a_call_waits() -> None:
    async def test() -> None:
        async with aconnect(Client(), "/echo/") as ws:
            call = asyncio.create_task(ws.receive(timeout=20))
            for _ in range(5):
                await asyncio.sleep(0.001)
            assert not call.done()
            await ws.send("late")
            assert await call == "late"

    run(test())


def test_a_cancelled_call_takes_no_message() -> None:
    async def test() -> None:
        async with aconnect(Client(), "/echo/") as ws:
            for number in range(20):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(ws.receive(timeout=20), 0.005)
                await ws.send(str(number))
                assert await ws.receive() == str(number)
            with pytest.raises(ReceiveTimeout):
                await ws.receive(timeout=0.02)

    run(test())


def test_many_clients_at_once() -> None:
    async def talk(number: int) -> str | bytes:
        async with aconnect(Client(), "/echo/") as ws:
            await ws.send(str(number))
            return await ws.receive(timeout=20)

    async def test() -> None:
        found = await asyncio.gather(*map(talk, range(30)))
        assert found == [str(number) for number in range(30)]

    run(test())

"""What daphne would not send."""

from __future__ import annotations

import asyncio
import functools
from types import SimpleNamespace
from typing import Any

from dwebsocket.asgi.daphne import able_to_send


def protocol(calls: list[Any]) -> Any:
    kind = type("Protocol", (), {"__module__": "daphne.ws_protocol"})
    made: Any = kind()
    made.sendCloseFrame = lambda *args: calls.append(("close", *args))
    made.sendMessage = lambda *args: calls.append(("message", *args))
    made.handshake_deferred = SimpleNamespace(
        callback=lambda answer: calls.append(("accept", answer))
    )
    return made


def test_everything_is_sent():
    calls: list[Any] = []

    async def reply(connection: Any, event: Any) -> None:
        calls.append(event["type"])

    async def test() -> None:
        send = able_to_send(functools.partial(reply, protocol(calls)))
        headers = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x", b"y")]
        await send(
            {"type": "websocket.accept", "subprotocol": "v1", "headers": headers}
        )
        await send({"type": "websocket.send", "text": ""})
        await send({"type": "websocket.send", "bytes": b""})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close", "code": 1012, "reason": "é"})

    asyncio.run(test())
    assert calls == [
        ("accept", ("v1", {"set-cookie": ["a=1", "b=2"], "x": ["y"]})),
        ("message", b"", False),
        ("message", b"", True),
        "websocket.send",
        ("close", 1012, "é".encode()),
    ]


def test_a_refusal_is_daphnes_own():
    calls: list[Any] = []

    async def reply(connection: Any, event: Any) -> None:
        calls.append(event["type"])

    async def test() -> None:
        send = able_to_send(functools.partial(reply, protocol(calls)))
        await send({"type": "websocket.close", "code": 1000, "reason": ""})

    asyncio.run(test())
    assert calls == ["websocket.close"]


def test_other_servers_are_left_alone():
    async def send(event: Any) -> None:
        pass

    assert able_to_send(send) is send
    partial = functools.partial(send, object())
    assert able_to_send(partial) is partial

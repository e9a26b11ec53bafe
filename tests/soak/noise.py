"""What makes life hard for a server, in one process.

Argument: ``{"port": n, "seed": n}``. Prints a line when the echoes run. Commands on its
input: ``{"status": true}`` asks for figures, ``{"finish": true}`` ends everything but
says the figures first.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.kill.crowd import commands, say

ECHOES = 20
CHURNERS = 8
SLOW = 8
#: Bytes of the messages to slow readers, and messages a second.
WIDE, WIDE_RATE = 16_384, 40
#: Seconds of one flood, and between two.
FLOOD, CALM = 4.0, 6.0
#: A client cannot wait for ever for an answer.
TIMEOUT = 60.0


def frame(opcode: int, payload: bytes = b"", fin: bool = True) -> bytes:
    """Return a client's frame; its mask of zeros leaves the payload as it is."""
    assert len(payload) < 126
    return bytes([opcode | fin << 7, 0x80 | len(payload), 0, 0, 0, 0]) + payload


#: What a flood consists of, each some 60 KB.
FLOODS: dict[str, bytes] = {
    "pings": frame(9) * 10_000,
    "pongs": frame(10) * 10_000,
    "empty texts": frame(1) * 10_000,
    "tiny texts": frame(1, b"x") * 9_000,
    "long pings": frame(9, b"x" * 125) * 450,
}


class Noise:
    """Everything that goes on."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.port = options["port"]
        self.chance = random.Random(options["seed"])
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.times: list[float] = []
        self.ready = asyncio.Event()
        several: list[tuple[int, Callable[[], Coroutine[Any, Any, None]]]] = [
            (ECHOES, self._echo),
            (CHURNERS, self._come_and_go),
            (SLOW, self._read_slowly),
            (1, self._talk),
            (1, self._floods),
        ]
        self.tasks = [
            asyncio.create_task(self._again(one))
            for n, one in several
            for _ in range(n)
        ]

    def _open(self, path: str, **options: Any) -> connect:
        url = f"ws://127.0.0.1:{self.port}/{path}"
        return connect(url, compression=None, open_timeout=TIMEOUT, **options)

    async def _again(self, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await one()
            except (OSError, EOFError, WebSocketException, TimeoutError) as error:
                self._fault(f"{one.__name__}: {error!r}")
                await asyncio.sleep(1)

    def _fault(self, text: str) -> None:
        self.counts["faults"] += 1
        if len(self.faults) < 20:
            self.faults.append(text)

    async def _echo(self) -> None:
        """Stay, and compare every answer."""
        async with self._open("echo", ping_interval=None) as websocket:
            while True:
                size = int(self.chance.paretovariate(0.5)) % 200_000
                message = self.chance.randbytes(size)
                begun = time.monotonic()
                await websocket.send(message)
                answer = await asyncio.wait_for(websocket.recv(), TIMEOUT)
                self.times.append(time.monotonic() - begun)
                self.counts["echoes"] += 1
                self.ready.set()
                if answer != message:
                    self._fault(f"a wrong echo of {size} bytes")
                await asyncio.sleep(self.chance.uniform(0, 0.2))

    async def _come_and_go(self) -> None:
        """Leave in each of the ways there are."""
        async with self._open("echo", ping_interval=None, close_timeout=1) as websocket:
            await websocket.send("hello")
            if await asyncio.wait_for(websocket.recv(), TIMEOUT) != "hello":
                self._fault("a wrong echo")
            way = self.chance.choice(["close", "abort", "reset", "half a frame"])
            transport = websocket.transport
            if way == "reset":
                _reset(transport.get_extra_info("socket"))
            if way == "half a frame":
                transport.write(b"\x81\xfe\x10\x00half")
            if way != "close":
                transport.abort()
        self.counts["came and went"] += 1
        await asyncio.sleep(self.chance.uniform(0, 0.4))

    async def _read_slowly(self) -> None:
        """Read so slowly that the server must do something about it."""
        sock = await self._raw("wide", receive_buffer=4_096)
        loop = asyncio.get_running_loop()
        with contextlib.closing(sock), contextlib.suppress(OSError):
            while await asyncio.wait_for(loop.sock_recv(sock, 2_048), TIMEOUT):
                await asyncio.sleep(0.05)
        self.counts["slow readers cut"] += 1
        await asyncio.sleep(self.chance.uniform(0, 1))

    async def _talk(self) -> None:
        """Send to the group of the slow readers."""
        async with self._open("talk", ping_interval=None) as websocket:
            while True:
                await websocket.send("x" * WIDE)
                self.counts["sent to slow readers"] += 1
                await asyncio.sleep(1 / WIDE_RATE)

    async def _floods(self) -> None:
        for name, data in FLOODS.items():
            await asyncio.sleep(CALM)
            await asyncio.gather(self._flood(name, data), self._flood(name, data))

    async def _flood(self, name: str, data: bytes) -> None:
        """Send as fast as the server takes it, and read nothing."""
        sock = await self._raw("echo")
        loop = asyncio.get_running_loop()
        end = time.monotonic() + FLOOD
        with contextlib.closing(sock), contextlib.suppress(OSError, TimeoutError):
            while (left := end - time.monotonic()) > 0:
                await asyncio.wait_for(loop.sock_sendall(sock, data), left)
                self.counts[f"MB of {name}"] += len(data)
                await asyncio.sleep(0)
        self.counts["floods"] += 1

    async def _raw(self, path: str, receive_buffer: int = 0) -> socket.socket:
        """Return a socket past its handshake."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", self.port))
        key = base64.b64encode(self.chance.randbytes(16)).decode()
        head = (
            f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await loop.sock_sendall(sock, head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await asyncio.wait_for(loop.sock_recv(sock, 1), TIMEOUT)
            if not data:
                raise EOFError(f"no answer to the handshake: {answer!r}")
            answer += data
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise EOFError(f"refused: {answer!r}")
        return sock

    def status(self) -> dict[str, Any]:
        """Return figures; the times begin anew."""
        times, self.times = sorted(self.times), []
        counts = {
            name: count // 1_000_000 if name.startswith("MB") else count
            for name, count in self.counts.items()
        }
        if times:
            counts["echo p50 ms"] = round(times[len(times) // 2] * 1000)
            counts["echo p99 ms"] = round(times[len(times) * 99 // 100] * 1000)
        return {**counts, "told": self.faults}


def _reset(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def main() -> None:
    """Make noise until told to stop."""
    heard = commands()
    noise = Noise(json.loads(sys.argv[1]))
    await asyncio.wait_for(noise.ready.wait(), TIMEOUT)
    say(ready=True)
    while command := await heard.get():
        say(**noise.status())
        if "finish" in command:
            break
    for task in noise.tasks:
        task.cancel()
    await asyncio.gather(*noise.tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())

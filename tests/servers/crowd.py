"""Many clients that come back, as pages do when their server is restarted."""

from __future__ import annotations

import asyncio
import functools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from . import frames
from .client import Address, eventually

#: The longest pause before the first attempt to come back, and before any, in seconds:
#: the backoff of dwebsocket.js.
FIRST, LONGEST = 1.0, 30.0

_HEAD = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class _Client(asyncio.Protocol):
    """One connection of a client: its handshake, and its Close frame."""

    def __init__(self, crowd: Crowd, ended: Callable[[], None]) -> None:
        self._crowd = crowd
        self._ended = ended
        self._buffer = b""
        self._open = False
        self._closed = False
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._crowd.head)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            status = int(head.split(b" ", 2)[1])
            if status != 101:
                self._crowd.refused[status] += 1
                self._transport.close()
                return
            self._open = True
            self._buffer = rest
            self._crowd.note_open()
        # Servers send small frames without a mask: two bytes, then the payload.
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            kind, size = self._buffer[0] & 15, self._buffer[1]
            payload, self._buffer = self._buffer[2 : 2 + size], self._buffer[2 + size :]
            if kind == 8 and not self._closed:
                self._closed = True
                code = int.from_bytes(payload[:2], "big")
                self._crowd.closed[code] += 1
                self._transport.write(frames.encode_close(code))
            elif kind == 9:
                self._transport.write(frames.encode(10, payload))

    def connection_lost(self, error: Exception | None) -> None:
        if self._open:
            self._crowd.open -= 1
            if not self._closed and not self._crowd.over:
                self._crowd.lost += 1
        self._ended()


class Crowd:
    """Clients that connect, and come back whenever they are closed or refused.

    Args:
        address: The server's address.
        count: How many clients there are.
        path: The path of the view.
        first: The longest pause before the first attempt to come back, in seconds.
    """

    def __init__(
        self, address: Address, count: int, path: str = "/echo", first: float = FIRST
    ) -> None:
        assert isinstance(address, tuple)
        self.address = address
        self.count = count
        self.head = _HEAD.format(path=path, host="{}:{}".format(*address)).encode()
        self.first = first
        #: How many are open now, and the times at which clients were let in, and tried.
        self.open = 0
        self.entries: list[float] = []
        self.attempts: list[float] = []
        #: Close frames by code, refusals by status, connections without a Close frame,
        #: and attempts that found no server.
        self.closed: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.lost = 0
        self.unreached = 0
        self.over = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def note_open(self) -> None:
        """Note that a client was let in."""
        self.open += 1
        self.entries.append(time.monotonic())

    def all_open(self, entries: int, timeout: float = 60) -> None:
        """Wait until all clients are open, and have been let in so often altogether."""
        try:
            eventually(
                lambda: self.open == self.count and len(self.entries) >= entries,
                timeout,
            )
        except AssertionError:
            raise AssertionError(
                f"{self.open} of {self.count} are open, {len(self.entries)} entries, "
                f"refused: {self.refused}, unreached: {self.unreached}"
            ) from None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._tasks = [
            self._loop.create_task(self._live(number)) for number in range(self.count)
        ]
        self._loop.run_forever()

    async def _live(self, number: int) -> None:
        # A thousand clients a second: no storm of their own at the start.
        await asyncio.sleep(number / 1000)
        attempt = 0
        while True:
            ended = asyncio.Event()
            self.attempts.append(time.monotonic())
            try:
                transport, client = await self._loop.create_connection(
                    functools.partial(_Client, self, ended.set), *self.address
                )
            except OSError:
                self.unreached += 1
            else:
                try:
                    await ended.wait()
                finally:
                    transport.abort()
                if client._open:
                    attempt = 0
            limit = min(LONGEST, self.first * 2**attempt)
            attempt += 1
            await asyncio.sleep(random.random() * limit)


def most_at_once(times: list[float], window: float = 0.1) -> int:
    """Return the most of some moments that lie within one window of time."""
    times = sorted(times)
    most = start = 0
    for end, moment in enumerate(times):
        while moment - times[start] > window:
            start += 1
        most = max(most, end - start + 1)
    return most

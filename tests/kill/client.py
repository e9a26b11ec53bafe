"""A client of the protocol that comes back, and checks what it gets."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

#: Seconds before it comes back, at first and at most.
PAUSES = (0.1, 2.0)


class Client:
    """One client.

    Args:
        number: Names it in what is printed.
        groups: Which it joins.
        ports: Of the servers, of which it takes any.
        opening: Limits how many connect at a time.
        chance: Random numbers.
    """

    def __init__(
        self,
        number: int,
        groups: list[str],
        ports: list[int],
        opening: asyncio.Semaphore,
        chance: random.Random,
    ) -> None:
        self.number = number
        #: The latest number of each group.
        self.numbers = dict.fromkeys(groups, 0)
        self.faults: list[str] = []
        self.received = 0
        self.recovered = 0
        self.returns = -1
        self.trouble = "never connected"
        self._since: dict[str, dict[str, Any]] = {}
        self._joined: set[str] = set()
        self._counts: dict[str, asyncio.Future[int]] = {}
        self._websocket: ClientConnection | None = None
        self._ports = ports
        self._opening = opening
        self._chance = chance

    @property
    def back(self) -> bool:
        """Whether it is connected and in all of its groups."""
        return len(self._joined) == len(self.numbers)

    def has(self, last: dict[str, int]) -> bool:
        """Return whether it has got these numbers."""
        return all(number >= last[group] for group, number in self.numbers.items())

    def lacks(self, last: dict[str, int]) -> list[str]:
        """Return what is missing at the end, in words."""
        return [
            f"client {self.number} has {number} of {group}, the last was {last[group]}"
            for group, number in self.numbers.items()
            if number != last[group]
        ]

    def cut(self) -> None:
        """Drop the connection without a word."""
        if self._websocket is not None:
            self._websocket.transport.abort()

    async def run(self) -> None:
        """Connect, and connect again."""
        pause = PAUSES[0]
        while True:
            try:
                await self._converse()
                pause = PAUSES[0]
            except (OSError, EOFError, WebSocketException) as error:
                self.trouble = repr(error)
            await asyncio.sleep(pause * self._chance.uniform(0.5, 1.5))
            pause = min(pause * 2, PAUSES[1])

    async def _converse(self) -> None:
        async with self._opening:
            port = self._chance.choice(self._ports)
            websocket = await connect(
                f"ws://127.0.0.1:{port}/ws",
                compression=None,
                ping_interval=None,
                open_timeout=20,
                close_timeout=1,
            )
        self._websocket = websocket
        try:
            async for message in websocket:
                await self._take(json.loads(message), websocket)
        finally:
            self._websocket = None
            self._joined.clear()
            for waiting in self._counts.values():
                waiting.cancel()
            self._counts.clear()
            websocket.transport.abort()

    async def _take(self, frame: dict[str, Any], websocket: ClientConnection) -> None:
        kind = frame["type"]
        if kind == "message":
            self._message(frame)
        elif kind == "welcome":
            self.returns += 1
            for group in self.numbers:
                await self._join(group, websocket)
        elif kind == "joined":
            self._on_joined(frame)
        elif kind == "error":
            await self._on_error(frame, websocket)
        elif kind == "members":
            self._counts.pop(frame["group"]).set_result(frame["count"])
        elif kind == "reset":
            self._fault(f"{frame['group']} was reset")
            self._see(frame)
        elif kind not in ("join", "leave"):
            self._fault(f"an unexpected frame: {frame}")

    async def _join(self, group: str, websocket: ClientConnection) -> None:
        command: dict[str, Any] = {"type": "join", "id": group, "group": group}
        if group in self._since:
            command["since"] = self._since[group]
        await websocket.send(json.dumps(command))

    def _on_joined(self, frame: dict[str, Any]) -> None:
        group = frame["group"]
        if group not in self._since:
            if self.numbers[group] or frame["missed"]:
                self._fault(f"the first joining of {group} is answered by {frame}")
        elif not frame["recovered"]:
            self._fault(f"{group} not recovered since {self._since[group]}: {frame}")
        else:
            self.recovered += frame["missed"]
        if not frame["missed"]:
            # Else the messages that follow move it on: they may be cut short.
            self._see(frame)
        self._joined.add(group)

    async def _on_error(
        self, frame: dict[str, Any], websocket: ClientConnection
    ) -> None:
        if frame["code"] != "unavailable":
            self._fault(f"an error: {frame}")
            return
        self.trouble = frame["message"]
        group = frame["id"]
        pause = self._chance.uniform(0.2, 1.0)
        loop = asyncio.get_running_loop()
        loop.call_later(pause, lambda: loop.create_task(self._again(group, websocket)))

    async def _again(self, group: str, websocket: ClientConnection) -> None:
        try:
            await self._join(group, websocket)
        except WebSocketException as error:
            self.trouble = repr(error)

    def _message(self, frame: dict[str, Any]) -> None:
        group, number = frame["group"], frame["data"]["n"]
        expected = self.numbers[group] + 1
        self.received += 1
        if number != expected:
            self._fault(f"{group} sent {number}, not {expected}: {frame}")
        elif group not in self._joined:
            self._fault(f"{group} sent {number} before it was joined")
        elif frame["offset"] != number:
            self._fault(f"{group} has stored something twice: {frame}")
        self.numbers[group] = max(number, self.numbers[group])
        self._see(frame)

    def _see(self, frame: dict[str, Any]) -> None:
        position = {"offset": frame["offset"], "epoch": frame["epoch"]}
        self._since[frame["group"]] = position

    def _fault(self, text: str) -> None:
        self.faults.append(f"client {self.number}: {text}")

    async def count(self, group: str) -> int:
        """Return how many members a group shows; -1 where it cannot be asked."""
        if self._websocket is None:
            return -1
        answer = self._counts[group] = asyncio.get_running_loop().create_future()
        command = {"type": "members", "id": group, "group": group}
        try:
            await self._websocket.send(json.dumps(command))
            return await asyncio.wait_for(answer, 10)
        except (WebSocketException, TimeoutError, asyncio.CancelledError):
            self._counts.pop(group, None)
            return -1

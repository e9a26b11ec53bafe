"""Many clients in one process.

Argument: ``{"ports": [..], "clients": [numbers], "all": how many, "seed": n}``. Prints
how many have joined when all have. Commands on its input: ``{"cut": n}`` cuts so many
off; ``{"status": true}`` and ``{"finish": {group: last number}, "timeout": seconds}``
ask for an answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import threading
import time
from typing import Any

from .client import Client
from .groups import SEEN, groups_of

#: Handshakes at a time.
OPENING = 64
#: Faults that are told in full.
TOLD = 20


class Crowd:
    """The clients, and what they are asked for."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.all = options["all"]
        chance = random.Random(options["seed"])
        opening = asyncio.Semaphore(OPENING)
        self.clients = [
            Client(
                number, groups_of(number, self.all), options["ports"], opening, chance
            )
            for number in options["clients"]
        ]
        self.chance = chance
        self.tasks = [asyncio.create_task(client.run()) for client in self.clients]

    def back(self) -> int:
        """Return how many are connected and in all of their groups."""
        return sum(client.back for client in self.clients)

    async def joined(self) -> None:
        """Wait until all are."""
        while self.back() < len(self.clients):
            await asyncio.sleep(0.05)

    def cut(self, count: int) -> None:
        """Cut some off, as a bad network does."""
        for client in self.chance.sample(self.clients, min(count, len(self.clients))):
            client.cut()

    def status(self) -> dict[str, int]:
        """Return figures."""
        return {
            "back": self.back(),
            "received": sum(client.received for client in self.clients),
            "recovered": sum(client.recovered for client in self.clients),
            "returns": sum(client.returns for client in self.clients),
            "faults": sum(len(client.faults) for client in self.clients),
        }

    async def finish(self, last: dict[str, int], timeout: float) -> dict[str, Any]:
        """Wait for the last numbers, and say what is wrong."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if all(client.back and client.has(last) for client in self.clients):
                break
            await asyncio.sleep(0.1)
        faults = [fault for client in self.clients for fault in client.faults]
        for client in self.clients:
            if not client.back:
                faults.append(f"client {client.number} is not back: {client.trouble}")
            faults += client.lacks(last)
        faults += await self._presence(deadline)
        return {**self.status(), "faults": len(faults), "told": faults[:TOLD]}

    async def _presence(self, deadline: float) -> list[str]:
        """Ask a client of each group who is there, and compare."""
        expected: dict[str, int] = {}
        for number in range(self.all):
            for group in groups_of(number, self.all):
                expected[group] = expected.get(group, 0) + 1
        witnesses = {
            group: client
            for client in self.clients
            for group in client.numbers
            if group.startswith(SEEN)
        }
        faults = []
        for group, client in witnesses.items():
            found = -1
            while found != expected[group] and time.monotonic() < deadline:
                found = await client.count(group)
                if found != expected[group]:
                    await asyncio.sleep(0.2)
            if found != expected[group]:
                faults.append(f"{group} shows {found} members, not {expected[group]}")
        return faults


def commands() -> asyncio.Queue[dict[str, Any] | None]:
    """Return the queue into which what is on the input goes."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def hear() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(heard.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(heard.put_nowait, None)

    threading.Thread(target=hear, daemon=True).start()
    return heard


def say(**what: Any) -> None:
    """Print an answer."""
    print(json.dumps(what), flush=True)


async def main() -> None:
    """Do what is asked for until the input ends."""
    heard = commands()
    crowd = Crowd(json.loads(sys.argv[1]))
    await crowd.joined()
    say(joined=len(crowd.clients))
    while command := await heard.get():
        if "cut" in command:
            crowd.cut(command["cut"])
        elif "status" in command:
            say(**crowd.status())
        else:
            say(**await crowd.finish(command["finish"], command["timeout"]))


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main())

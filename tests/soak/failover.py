"""Two Redis servers behind one address, which change places."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import Any

from tests.kill.brokers import program
from tests.kill.processes import Server, free_port

#: Seconds for a replica to catch up.
PATIENCE = 30.0


def redis_server(name: str, directory: Path) -> Server:
    """Return a Redis that writes everything to the disk at once."""
    data = directory / name
    data.mkdir()
    port = free_port()
    argv = [
        *(program("redis-server"), "--bind", "127.0.0.1", "--port", str(port)),
        *("--dir", str(data), "--save", "", "--repl-diskless-sync-delay", "0"),
        *("--appendonly", "yes", "--appendfsync", "always"),
    ]
    return Server(name, argv, port, directory)


def ask(port: int, *words: str) -> Any:
    """Send one command; return the answer's text."""
    import redis

    with contextlib.closing(redis.Redis(port=port, socket_timeout=10)) as client:
        return client.execute_command(*words)


class Relay:
    """A name that means another server after a failover: open connections stay."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.target = target
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        if not ready.wait(10):
            raise RuntimeError("the relay did not start")

    def _run(self, ready: threading.Event) -> None:
        async def serve() -> None:
            server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
            ready.set()
            await server.serve_forever()

        asyncio.run(serve())

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Pair:
    """A master and its replica behind a :class:`Relay`.

    Args:
        directory: For their data and logs.
    """

    def __init__(self, directory: Path) -> None:
        self.servers = [redis_server(f"redis-{n}", directory) for n in range(2)]
        self.relay = Relay(self.servers[0].port)
        self.url = f"redis://127.0.0.1:{self.relay.port}"
        self.failovers = 0
        self.restarts = 0

    @property
    def master(self) -> Server:
        """The server that the name means."""
        return next(one for one in self.servers if one.port == self.relay.target)

    @property
    def replica(self) -> Server:
        """The other one."""
        return next(one for one in self.servers if one.port != self.relay.target)

    def start(self) -> None:
        """Start both."""
        for server in self.servers:
            server.start()
        self._follow()

    def _follow(self) -> None:
        """Let the replica follow the master, and wait until it has caught up."""
        ask(self.replica.port, "REPLICAOF", "127.0.0.1", str(self.master.port))
        deadline = time.monotonic() + PATIENCE
        while (
            ask(self.replica.port, "INFO", "replication")["master_link_status"] != "up"
        ):
            if time.monotonic() > deadline:
                raise RuntimeError("the replica does not catch up")
            time.sleep(0.05)  # Redis tells nobody when it has

    def fail_over(self) -> None:
        """Let them change places; what was taken is not lost."""
        old, new = self.master, self.replica
        ask(old.port, "FAILOVER", "TO", "127.0.0.1", str(new.port), "TIMEOUT", "20000")
        deadline = time.monotonic() + PATIENCE
        while ask(new.port, "ROLE")[0] != b"master":
            if time.monotonic() > deadline:
                raise RuntimeError("the failover does not end")
            time.sleep(0.01)  # nor of this
        self.relay.target = new.port
        self.failovers += 1

    def restart(self, down: float) -> None:
        """Kill the master, and start it again after so many seconds."""
        self.master.kill()
        time.sleep(down)
        self.master.start()
        self._follow()
        self.restarts += 1

    def kill(self) -> None:
        """End both."""
        for server in self.servers:
            server.kill()

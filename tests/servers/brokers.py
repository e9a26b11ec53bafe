"""Real brokers of the tests' own, on ports of their own."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .freezing import frozen


def free_port() -> int:
    """Return a port that nobody has."""
    # Below the range from which the system takes ports for clients: one of them could
    # have it while the server is down. At random, or else another test's server would
    # take it then.
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


class Broker:
    """A server that keeps every write, and may be killed and started again."""

    #: How its URL begins.
    scheme: str
    #: What it says first once it is ready, whoever speaks first.
    greeting: bytes

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix=self.scheme)
        self.place = Path(self.directory.name)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def words(self) -> list[str]:
        """Return its command line."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.process = subprocess.Popen(
            self.words(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                    client.sendall(b"PING\r\n")
                    if client.recv(16).startswith(self.greeting):
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, f"{self.words()[0]} does not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    def frozen(self) -> contextlib.AbstractContextManager[None]:
        """Stop the server during the block, as a long pause of its machine does."""
        assert self.process is not None
        return frozen(self.process.pid)

    def close(self) -> None:
        """Kill the server and forget its data."""
        self.kill()
        self.directory.cleanup()

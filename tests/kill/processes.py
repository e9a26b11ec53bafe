"""The processes of the kill test: some are killed, some are talked to."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 30.0


def free_port() -> int:
    """Return a port that stays free while nobody listens on it.

    Not one of those that the system gives to clients, of which there are thousands.
    """
    while True:
        port = random.randrange(12_000, 30_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


class Server:
    """A server process that can be killed and started again.

    Args:
        name: What it is called in what is printed, and its log file.
        argv: Its command line.
        port: On which it listens.
        directory: Where its log goes.
        env: Environment variables.
    """

    def __init__(
        self, name: str, argv: list[str], port: int, directory: Path, **env: str
    ) -> None:
        self.name = name
        self.port = port
        self.log = directory / f"{name}.log"
        self.kills = 0
        self._argv = argv
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections.

        Raises:
            RuntimeError: It does not.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.text()}")
            time.sleep(0.02)  # not listening yet: no event tells

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    @property
    def pid(self) -> int:
        """The process that was started; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def kill(self) -> None:
        """End it and its children at once, without a chance to tidy up."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self.kills += 1

    def text(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


#: Command lines of servers with one process, by name; the address and site are theirs.
SERVERS: dict[str, Callable[[str, str], list[str]]] = {
    "gthread": lambda address, site: [
        *("gunicorn", site, "--bind", address, "--workers", "1"),
        *("--log-level", "warning", "--worker-class", "gthread", "--threads", "4"),
    ],
    "waitress": lambda address, site: [
        *("waitress", f"--listen={address}", "--threads=4", f"{site}:application"),
    ],
}


class Worker(Server):
    """A WSGI server with one process, which serves a site.

    Args:
        kind: One of :data:`SERVERS`.
        site: The module that has the application.
        env: Environment variables.
    """

    def __init__(
        self,
        name: str,
        broker: str,
        directory: Path,
        kind: str = "gthread",
        site: str = "tests.kill.site",
        **env: str,
    ) -> None:
        port = free_port()
        argv = [sys.executable, "-m", *SERVERS[kind](f"127.0.0.1:{port}", site)]
        super().__init__(name, argv, port, directory, KILL_BROKER=broker, **env)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self.port}/ready"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.read() == b"ready")
        return False


class Helper:
    """A Python module in a process of its own, talked to in lines of JSON.

    Args:
        module: Is run with ``options``, as JSON, for its argument.
        options: Anything that JSON can express.
        directory: Where its log goes.
        env: Environment variables.
    """

    def __init__(
        self, name: str, module: str, options: Any, directory: Path, **env: str
    ) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps(options)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                start_new_session=True,
            )
        self._said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._hear, daemon=True).start()

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        self._said.put(None)

    def tell(self, **command: Any) -> None:
        """Send a command."""
        with contextlib.suppress(BrokenPipeError):
            self._input.write(json.dumps(command) + "\n")

    def hear(self, timeout: float) -> Any:
        """Return the next thing it says.

        Raises:
            RuntimeError: It says nothing, or has ended.
        """
        with contextlib.suppress(queue.Empty):
            said = self._said.get(timeout=timeout)
            if said is not None:
                return said
        log = self._log.read_text(errors="replace")
        raise RuntimeError(f"{self.name} says nothing in {timeout:.0f} s:\n{log}")

    def ask(self, timeout: float, **command: Any) -> Any:
        """Send a command and return the answer."""
        self.tell(**command)
        return self.hear(timeout)

    def kill(self) -> None:
        """Make sure that nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        if self._process.stdout is not None:
            self._process.stdout.close()

"""Real servers as child processes, each in a process group of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.logs import without_interrupts

from .client import Address, HttpClient, Response, WsClient, eventually
from .specs import ASGI_SPECS, SPECS, Spec

ROOT = Path(__file__).resolve().parents[2]
#: The servers' interpreter: another one's (with another release of the package
#: installed) shows whether a test describes that release as well.
PYTHON = os.environ.get("SERVERS_PYTHON", sys.executable)
START_TIMEOUT = 40.0
STOP_TIMEOUT = 20.0


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class StartError(Exception):
    """The server did not come up; its log is the message."""


class Server:
    """One running server.

    Args:
        spec: Its name in :data:`~tests.servers.specs.SPECS`.
        directory: Where its log goes.
        settings: Django settings on top of the site's own.
        env: Environment variables.
        args: More command line arguments.
        unix: Listen on a Unix socket instead of a port.
        tls: Talk TLS to it.
    """

    def __init__(
        self,
        spec: str | Spec,
        directory: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        args: Iterable[str] = (),
        unix: bool = False,
        tls: bool = False,
    ) -> None:
        if isinstance(spec, str):
            spec = {**SPECS, **ASGI_SPECS}[spec]
        self.spec = spec
        self.directory = directory
        self.args = list(args)
        self.unix = unix
        self.tls = tls
        # The servers of other tests are not this site's, though they have its secret.
        package = {
            "MONITOR_DIRECTORY": str(directory / "figures"),
            **(settings or {}).get("DWEBSOCKET", {}),
        }
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(ROOT), (env or {}).get("PYTHONPATH")])
            ),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONUNBUFFERED": "1",
            "SITE_SETTINGS": json.dumps({**(settings or {}), "DWEBSOCKET": package}),
            **{k: v for k, v in (env or {}).items() if k != "PYTHONPATH"},
        }
        self.log = directory / "log"
        self.address: Address = ""
        self._mark = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._group: list[psutil.Process] = []
        self._clients: list[HttpClient] = []

    # Starting

    def start(self) -> Server:
        """Start the server and wait until it answers.

        Raises:
            StartError: It does not.
        """
        for attempt in range(4):
            try:
                self._spawn()
                self._await_answer()
            except StartError as error:
                self.kill()
                # The free port went to another process in between.
                if attempt < 3 and re.search("in use|already used", str(error)):
                    continue
                raise
            except BaseException:
                self.kill()
                raise
            self.begin()
            return self
        raise AssertionError("unreachable")

    def _spawn(self) -> None:
        if self.unix:
            self.address = str(self.directory / "socket")
        else:
            self.address = ("127.0.0.1", free_port())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.spec.argv(PYTHON, self.address) + self.args,
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        pause = 0.02
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StartError(self.text(0))
            try:
                if self.get("/ping").body == b"pong":
                    return
            except (OSError, EOFError):
                time.sleep(pause)  # not listening yet: no event tells
        raise StartError(f"no answer in {START_TIMEOUT} s:\n{self.text(0)}")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started (a master or a reloader, with some)."""
        assert self._process is not None, "not started"
        return self._process

    # Talking to it

    @property
    def url(self) -> str:
        """Its URL, without a slash at the end."""
        assert isinstance(self.address, tuple)
        return f"http://{self.address[0]}:{self.address[1]}"

    def http(self) -> HttpClient:
        """Return a connection for plain HTTP."""
        self._clients.append(HttpClient(self.address, self.tls))
        return self._clients[-1]

    def get(self, path: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
        """Return the answer to a GET on a connection of its own."""
        with self.http() as client:
            return client.request(path, [*headers, ("Connection", "close")])

    def idle(self) -> None:
        """Wait until a server that does one thing after the other has nothing to do."""
        with self.http() as client:
            client.request("/ping", [("Connection", "close")])
            # It closes a connection when all is done that there is to a request.
            client.rest()

    def post(
        self, path: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> Response:
        """Return the answer to a POST on a connection of its own."""
        with self.http() as client:
            return client.request(
                path, [*headers, ("Connection", "close")], "POST", body
            )

    def client(self) -> WsClient:
        """Return a connected client before its handshake."""
        client = WsClient(self.address, self.tls)
        self._clients.append(client)
        return client

    def open(self, path: str, headers: Iterable[tuple[str, str]] = ()) -> WsClient:
        """Return a client past its handshake."""
        client = self.client()
        client.open(path, headers)
        return client

    def drop_clients(self) -> None:
        """Close what a test has left open."""
        while self._clients:
            self._clients.pop().drop()

    # Looking at it

    def info(self) -> dict[str, Any]:
        """Return what the serving process says about itself."""
        response = self.get("/info")
        assert response.status == http.client.OK
        found: dict[str, Any] = json.loads(response.body)
        return found

    def worker(self) -> psutil.Process:
        """Return the process that answers requests."""
        return psutil.Process(self.info()["pid"])

    def pids(self) -> list[int]:
        """Return the ids of all its processes."""
        return [process.pid for process in self._family()]

    def rss(self) -> int:
        """Return the resident memory of all its processes, in bytes."""
        return sum(process.memory_info().rss for process in self._family())

    def _family(self) -> list[psutil.Process]:
        try:
            head = psutil.Process(self.process.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    # Its log

    def begin(self) -> None:
        """Forget the log up to here, except a line that is still being written.

        The kernel shows a write that crosses a page in two parts.
        """
        text = self.log.read_bytes()
        self._mark = text.rfind(b"\n") + 1

    def text(self, start: int | None = None) -> str:
        """Return the log since :meth:`begin`, or from a position."""
        with self.log.open("rb") as log:
            log.seek(self._mark if start is None else start)
            return without_interrupts(log.read().decode(errors="replace"))

    def errors(self) -> list[str]:
        """Return the log's lines since :meth:`begin` that are not known as harmless."""
        with contextlib.suppress(AssertionError):
            # The last line may still be written; a killed server does not end it.
            eventually(lambda: self.text()[-1:] in ("", "\n"), 1, "an unfinished line")
        return [
            line
            for line in self.text().splitlines()
            if line.strip() and not self.spec.harmless.search(line)
        ]

    def logged(self, pattern: str) -> str:
        """Wait for a line in the log; return the log and forget it."""
        eventually(
            lambda: re.search(pattern, self.text()),
            what=f"{pattern!r} is not in the log:\n{self.text()}",
        )
        text = self.text()
        self.begin()
        return text

    # Stopping

    def signal(self, number: int | None = None) -> None:
        """Send the signal that the server calls graceful, or another one."""
        target = self.process.pid
        if number is None and self.spec.signal_worker:
            target = self.worker().pid
        self._group = self._family()
        os.kill(target, self.spec.stop if number is None else number)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait until every process has gone; return the exit status."""
        status = self.process.wait(timeout)
        eventually(
            lambda: not any(map(_alive, self._group)),
            timeout,
            f"still there: {self._group}",
        )
        return status

    def stop(self) -> int:
        """Stop it gracefully and return its exit status."""
        try:
            self.signal()
            return self.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        """Make sure that nothing of it is left."""
        if self._process is None:
            return
        left = {p.pid: p for p in (*self._group, *self._family())}
        for process in left.values():
            # Compares the time of the start as well: never another's process.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(STOP_TIMEOUT)
        eventually(lambda: not any(map(_alive, left.values())), STOP_TIMEOUT)


def _alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie that nobody has reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

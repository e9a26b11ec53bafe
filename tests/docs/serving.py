"""Starts what the documentation tells to start, and talks to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from tests.logs import without_interrupts

LIMIT = 20.0
_BINARIES = Path(sys.executable).parent


def free_port() -> int:
    """Return a port that a server may bind, to any address, in a moment.

    Not one of those that the system gives to clients: some other program's connection
    could get it until then.
    """
    for port in random.Random().sample(range(10_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port
    raise OSError("no port is free")


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Return what a user's shell has in the virtual environment of the tests."""
    # What is documented brings settings of its own.
    ours = {"DJANGO_SETTINGS_MODULE", "RUN_MAIN"}
    shell = {name: value for name, value in os.environ.items() if name not in ours}
    path = f"{_BINARIES}{os.pathsep}{shell.get('PATH', os.defpath)}"
    return shell | {"PATH": path, "VIRTUAL_ENV": str(_BINARIES.parent)} | variables


@contextlib.contextmanager
def running(
    command: list[str], directory: Path, stop: int, **variables: str
) -> Iterator[None]:
    """Run a command in a directory; whatever it starts has ended afterwards."""
    # For a program of the same name elsewhere would be another one.
    program = _BINARIES / command[0]
    assert program.exists(), f"{command[0]} is not installed beside {sys.executable}"
    log = directory / "log"
    with log.open("w") as output:
        # A session of its own: some servers are several processes.
        server = subprocess.Popen(
            [str(program), *command[1:]],
            cwd=directory,
            env=_environment(variables),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield
        except BaseException:
            print(log.read_text())
            raise
        finally:
            # Ctrl-C reaches the reloader and its child; other servers tell their own.
            end = os.killpg if "runserver" in command else os.kill
            end(server.pid, stop)
            try:
                server.wait(LIMIT)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGKILL)
    assert "Traceback" not in without_interrupts(log.read_text()), log.read_text()


def _open(url: str) -> ClientConnection:
    """Connect once somebody listens, which servers announce to nobody."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return connect(url, open_timeout=LIMIT, close_timeout=LIMIT)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def get(port: int, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Return the answer to a request, once somebody listens, and its body."""
    deadline = time.monotonic() + LIMIT
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response, response.read()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def assert_echoes(url: str) -> None:
    """Fail unless a view sends every message back as it came, and closes."""
    with _open(url) as peer:
        for message in ("hello", "grüß dich, 世界", b"\x00\xff", ""):
            peer.send(message)
            assert peer.recv(timeout=LIMIT) == message
    assert peer.close_code == 1000

"""The README's first example, taken out of it, served and talked to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from . import pages
from .pages import ROOT

README = ROOT / "README.md"
_LIMIT = 30.0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    # The example brings settings of its own.
    ours = {"DJANGO_SETTINGS_MODULE", "RUN_MAIN"}
    return {name: value for name, value in os.environ.items() if name not in ours}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Serve the example as the README says, and return the URL that it names."""
    (tmp_path / "echo.py").write_text(pages.blocks(README, "python")[0].code)
    command, script, *rest = pages.blocks(README, "sh")[1].code.split()
    assert (command, script) == ("python", "echo.py")
    *_, documented = pages.blocks(README, "sh")[2].code.split()
    assert documented.startswith("ws://127.0.0.1:8000/")
    port = _free_port()
    with (tmp_path / "log").open("w+") as log:
        # A session of its own: autoreload makes it two processes.
        server = subprocess.Popen(
            [sys.executable, script, *rest, str(port)],
            cwd=tmp_path,
            env=_environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield documented.replace(":8000", f":{port}")
        finally:
            os.killpg(server.pid, signal.SIGINT)
            try:
                server.wait(_LIMIT)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGKILL)
        log.seek(0)
        assert "Traceback" not in log.read()


def _connect(url: str) -> ClientConnection:
    """Connect once the server listens, of which it tells nobody."""
    deadline = time.monotonic() + _LIMIT
    while True:
        try:
            return connect(url, open_timeout=_LIMIT, close_timeout=_LIMIT)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_the_example_is_ten_lines() -> None:
    code = pages.blocks(README, "python")[0].code
    assert len([line for line in code.splitlines() if line]) == 10


def test_the_example_echoes(url: str) -> None:
    with _connect(url) as peer:
        for message in ("hello", "grüß dich, 世界", b"\x00\xff", ""):
            peer.send(message)
            assert peer.recv(timeout=_LIMIT) == message
    assert peer.close_code == 1000

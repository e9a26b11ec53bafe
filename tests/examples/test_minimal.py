"""The site in one file, started by the two commands of its docstring."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import MINIMAL
from .running import PATIENCE, Example

SERVERS = ("runserver", "runserver-reload", "gunicorn-sync")


@pytest.mark.parametrize("server", SERVERS)
def test_it_serves_a_page_and_an_echo(
    server: str, launch: Callable[..., Example]
) -> None:
    minimal = launch(MINIMAL, server)
    status, page = minimal.get("/")
    assert status == 200
    assert "new WebSocket" in page
    assert minimal.get("/echo/") == (200, "please connect with a WebSocket")
    client = minimal.connect("/echo/")
    for message in ("hello", "你好", b"\x00\xff"):
        client.send(message)
        assert client.recv(PATIENCE) == message
    client.close()
    assert client.close_code == 1000
    minimal.reset_one("/echo/", "bye")
    client = minimal.connect("/echo/")
    client.send("still there?")
    assert client.recv(PATIENCE) == "still there?"
    minimal.kill()

"""Every client, with and without compression, directly and through nginx."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import quote

import pytest

from tests.servers.harness import Server

from .chromium import Chromium
from .clients import (
    Aiohttp,
    Client,
    Picows,
    Tungstenite,
    WebsocketClient,
    Websockets,
    connected,
)
from .nginx import Nginx

KINDS = [Websockets, WebsocketClient, Aiohttp, Picows, Tungstenite, Chromium]
TEN_MEBIBYTES = 10 * 1024 * 1024

Connect = Callable[[str], AbstractContextManager[Client]]


def _parameters() -> list[object]:
    return [
        pytest.param(
            (kind, compression),
            id=f"{kind.__name__}-{'deflate' if compression else 'plain'}",
            # The first test builds the Rust client, which has a limit of its own.
            marks=pytest.mark.timeout(func_only=kind is Tungstenite),
        )
        for kind in KINDS
        for compression in ((False, True) if kind.compresses else (False,))
    ]


@pytest.fixture(params=["direct", "nginx"])
def address(request: pytest.FixtureRequest, site: Server) -> str:
    """Return host and port, of gunicorn or of nginx before it."""
    if request.param == "direct":
        return "{}:{}".format(*site.address)
    nginx: Nginx = request.getfixturevalue("nginx")
    return f"127.0.0.1:{nginx.port}"


@pytest.fixture(params=_parameters())
def connect(request: pytest.FixtureRequest, address: str) -> Connect:
    """Return a function that connects one of the clients."""
    kind, compression = request.param
    if kind is Tungstenite:
        request.getfixturevalue("tungstenite")
    if kind is Chromium:
        request.getfixturevalue("chromium")

    def start(path: str) -> AbstractContextManager[Client]:
        return connected(kind, f"ws://{address}/{path}", compression)

    start.compression = compression  # type: ignore[attr-defined]
    return start


def echo_path() -> tuple[str, str]:
    """Return the echo's path, and the name that its end is noted under."""
    name = uuid.uuid4().hex
    return f"echo?id={name}", name


def ended(site: Server, name: str) -> list[object]:
    """Return the close code and reason that the view has seen."""
    found: list[object] = json.loads(site.get(f"/ended?id={name}").body)
    return found


def test_messages_come_back_as_they_went(connect: Connect) -> None:
    messages: list[str | bytes] = [
        "hello",
        "",
        "Grüße, 世界 🌍",
        b"",
        b"\x00\xff" * 300,
        json.dumps([{"name": "a", "value": n} for n in range(500)]),
        os.urandom(200_000),
    ]
    with connect(echo_path()[0]) as client:
        agreed = client.extensions().startswith("permessage-deflate")
        assert agreed == connect.compression  # type: ignore[attr-defined]
        for message in messages:
            client.send(message)
            received = client.receive()
            assert type(received) is type(message)
            assert received == message
        assert client.echoes(TEN_MEBIBYTES, binary=False)
        assert client.echoes(TEN_MEBIBYTES, binary=True)


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (4999, "für heute")])
def test_view_sees_how_the_client_closed(
    connect: Connect, site: Server, code: int, reason: str
) -> None:
    path, name = echo_path()
    with connect(path) as client:
        client.send("hello")
        assert client.receive() == "hello"
        client.close(code, reason)
        assert ended(site, name) == [code, reason]


@pytest.mark.parametrize(("code", "reason"), [(1011, ""), (4001, "für heute")])
def test_client_sees_how_the_view_closed(
    connect: Connect, code: int, reason: str
) -> None:
    with connect(f"close?code={code}&reason={quote(reason)}") as client:
        assert client.closed() == (code, reason)

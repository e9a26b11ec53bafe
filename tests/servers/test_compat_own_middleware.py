"""A site's own middleware that opens WebSockets, as the old package's did."""

from __future__ import annotations

import time
from typing import Any

import pytest

from . import frames
from .harness import Server
from .specs import SPECS

pytestmark = pytest.mark.parametrize("spec", SPECS)

HERE = "tests.servers.site"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    f"{HERE}.own_middleware.CopiedMiddleware",
]
SETTINGS = {"MIDDLEWARE": MIDDLEWARE, "ROOT_URLCONF": f"{HERE}.urls_own"}


@pytest.fixture
def server(variant: Any, spec: str) -> Server:
    running: Server = variant(spec, settings=SETTINGS)
    return running


@pytest.mark.parametrize("path", ["/own/echo", "/own/decorated"])
def test_the_view_talks_and_nothing_of_http_follows(server: Server, path: str):
    client = server.client()
    # With a message in the handshake's segment.
    client.open(path, then=frames.encode(frames.TEXT, b"first", mask=True))
    assert client.receive() == "first"
    for number in range(20):
        client.send(f"message {number}")
        assert client.receive() == f"message {number}"
    if path == "/own/echo":
        client.send("bye")
        assert client.answer_close().close_code == 1000
    else:
        assert client.close(4001).close_code == 4001
    assert server.get("/ping").body == b"pong"
    assert server.get("/own/echo").body == b"plain"


def test_the_peer_may_close_or_vanish(server: Server):
    client = server.open("/own/echo")
    assert client.close(1000).close_code == 1000
    for end in ("drop", "reset"):
        client = server.open("/own/echo")
        client.send("x")
        assert client.receive() == "x"
        getattr(client, end)()
    assert server.get("/ping").body == b"pong"


def test_an_error_closes_with_1011(server: Server):
    client = server.open("/own/fail")
    client.send("x")
    assert client.answer_close().close_code == 1011
    server.logged("ZeroDivisionError: on purpose")
    assert server.get("/ping").body == b"pong"
    time.sleep(0.1)  # the server's own line on the request
    server.begin()


def test_a_large_download_waits_for_its_reader(server: Server):
    client = server.open("/own/large")
    client.send("x")
    time.sleep(0.5)  # late
    for _ in range(120):
        assert len(client.receive()) == 100_000
    assert client.answer_close().close_code == 1000


def test_views_that_do_not_talk_refuse(server: Server):
    assert server.client().refused("/own/other").status == 400
    server.logged("Bad Request: /own/other")
    assert server.get("/own/other").body == b"other"


def test_a_bad_handshake_is_400(server: Server):
    refused = server.client().refused("/own/echo", without=["Sec-WebSocket-Key"])
    assert refused.status == 400
    server.logged("Sec-WebSocket-Key")
    wrong = [("Origin", "https://other.example")]
    assert server.client().refused("/own/echo", wrong).status == 403
    server.logged("other.example")
    assert server.get("/ping").body == b"pong"
    time.sleep(0.1)  # the server's own lines
    server.begin()

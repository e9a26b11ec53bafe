"""A handshake takes its own client's socket, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from . import frames
from .client import HttpClient, eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .specs import SPECS

SLOW: dict[str, Any] = {
    "settings": {
        "MIDDLEWARE": [
            "tests.servers.site.slow.Slow",
            "django.middleware.common.CommonMiddleware",
        ]
    }
}
BIG = 8_000_000
PIPELINED = f"GET /big?size={BIG} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
#: Keep a connection and answer what was sent in one piece, one after the other.
KEEPS_ALIVE = ["gunicorn-gthread", "gunicorn-gevent", "gevent-pywsgi", "cheroot"]

Variant = Callable[..., Server]


def _strangers(server: Server, count: int = 5) -> list[HttpClient]:
    """Return clients whose sockets may get the number of one that was closed."""
    clients = [server.http() for _ in range(count)]
    for client in clients:
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return clients


def _check(server: Server, strangers: list[HttpClient]) -> None:
    for stranger in strangers:
        # A worker of gunicorn serves the next one when this one has gone.
        with stranger:
            response = stranger.read_response()
        assert (response.status, response.body) == (200, b"pong")
    with server.open("/echo") as client:
        client.send("still here")
        assert client.receive() == "still here"


@pytest.mark.parametrize("spec", SPECS)
def test_a_client_that_resets_while_middleware_answers_harms_nobody(
    variant: Variant, report: Channel, spec: str
):
    server = variant(spec, **SLOW)
    for _ in range(2):
        client = server.client()
        client.sendall(client.handshake(f"/hold?slow=0.2&key={report.key}"))
        assert report.expect("slow") == 101
        client.reset()
        _check(server, _strangers(server))


@pytest.mark.parametrize("spec", [*KEEPS_ALIVE, "waitress"])
def test_a_reset_with_an_answer_on_its_way_harms_nobody(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec, **SLOW)
    for _ in range(3):
        client = server.client()
        handshake = client.handshake(f"/push?size=99&slow=1&key={report.key}")
        client.sendall(PIPELINED + handshake)
        with contextlib.suppress(AssertionError):
            # Servers that wait for the client to read never come to the handshake.
            report.expect("slow", timeout=1)
        client.reset()
        _check(server, _strangers(server))
    assert "Bad file descriptor" not in server.text()


@pytest.mark.parametrize("spec", [*KEEPS_ALIVE, "waitress"])
def test_the_answer_to_an_earlier_request_arrives_whole(
    variant: Variant, report: Channel, spec: str
):
    server = variant(spec)
    client = server.client()
    client.sendall(PIPELINED + client.handshake(f"/hold?key={report.key}"))
    with contextlib.suppress(AssertionError):
        # No WebSocket opens before the client has begun to read.
        report.expect("open", timeout=0.5)
    assert client.read_response().body == b"b" * BIG
    response = client.read_head()
    if response.status == 503:
        # This machine took its time to read, which waitress did not wait for.
        server.logged(r"WebSocket refused \(503\)")
        return
    assert response.status == 101
    client.send("hello")
    assert client.receive() == "hello"
    client.sendall(frames.encode_close(1000))
    assert client.read_close().close_code == 1000


def test_a_client_that_does_not_read_its_answer_gets_no_websocket(pool: Pool):
    server = pool.fresh("waitress")
    client = server.client()
    client.sendall(PIPELINED + client.handshake("/echo"))
    text = server.logged(r"WebSocket refused \(503\)")
    assert "has not read the answer to an earlier request" in text
    # Not a byte is lost, and the refusal follows in good order.
    assert client.read_response().body == b"b" * BIG
    response = client.read_response()
    assert (response.status, response.get("Retry-After")) == (503, "10")
    _check(server, [])


REQUEST_INSIDE = b"x\r\n\r\nGET /session?in=a-frame HTTP/1.1\r\nHost: x\r\n\r\ny"


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "payload",
    [
        b"a\r\n\r\nb",
        b"a\r\n\r\n\r\n\r\n \r\n\r\nb\r\n",
        REQUEST_INSIDE,
        REQUEST_INSIDE + b"\r\n\r\n",
        b"\r\n\r\nPOST /upload HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd",
        b"\r\n\r\nPOST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
    ],
)
def test_a_frame_that_looks_like_requests_is_a_frame(
    variant: Variant, spec: str, payload: bytes
):
    server = variant(spec)
    client = server.client()
    payload += b"\xff"  # no text: it comes back as bytes
    # A mask of zeros, so that the bytes on the wire are those of the payload.
    frame = bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload
    client.open("/echo", then=frame + frame)
    assert client.receive() == payload
    assert client.receive() == payload
    client.send(b"later")
    assert client.receive() == "later"
    client.sendall(frames.encode_close(1000))
    assert client.read_close().close_code == 1000
    assert client.rest() == b""
    assert server.get("/ping").body == b"pong"
    assert "in=a-frame" not in server.text()


def test_a_first_handshake_loses_no_frame_in_silence(pool: Pool):
    # Nothing has imported the package yet when waitress parses the very first request.
    server = pool.fresh("waitress", start=False)
    server._spawn()
    client = eventually(lambda: _connected(server))
    frame = frames.encode(frames.TEXT, b"hello")
    client.sendall(client.handshake("/echo") + frame)
    client.accepted()
    assert client.receive() == "hello"


def _connected(server: Server) -> Any:
    with contextlib.suppress(OSError):
        return server.client()
    return None


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "body", [b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"], ids=["empty", "three-bytes"]
)
def test_a_handshake_with_a_chunked_body_is_refused(pool: Pool, spec: str, body: bytes):
    # Its log may say of the body that it is no request: some servers do not read it.
    server = pool.get(spec)
    client = server.client()
    head = client.handshake("/exempt", [("Transfer-Encoding", "chunked")])
    client.sendall(head + body)
    assert client.read_head().status == 400
    server.logged(r"WebSocket refused \(400\)")


@pytest.mark.parametrize("spec", SPECS)
def test_descriptors_come_back_from_handshakes_that_came_to_nothing(
    variant: Variant, report: Channel, spec: str
):
    server = variant(spec, **SLOW)
    server.open("/echo").close()
    worker = server.worker()
    before = worker.num_fds()
    for number in range(9):
        client = server.client()
        client.sendall(client.handshake(f"/hold?slow=0.05&key={report.key}"))
        report.expect("slow")
        (client.drop, client.reset, client.half_close)[number % 3]()
    server.drop_clients()
    eventually(
        lambda: worker.num_fds() <= before,
        what=f"{worker.num_fds()} descriptors after {before}",
    )
    assert not re.search("Traceback", server.text())

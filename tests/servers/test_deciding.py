"""Views that accept by hand, on every server."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from .client import eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .specs import ALL_SPECS, CONTRACT
from .table import EXCEPTIONS, HAS_STATUS, SENDS_HEADERS

everywhere = pytest.mark.parametrize("server", ALL_SPECS, indirect=True)
kinds = pytest.mark.parametrize("kind", ["sync", "task"])


def address(kind: str, do: str, report: Channel, **query: str) -> str:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return f"/deciding/{kind}?do={do}&key={report.key}{more}"


def lacks(name: str, request: Any) -> bool:
    """Return whether the table of docs/servers.md has this server."""
    return (name, "def", request.node.callspec.params["server"]) in EXCEPTIONS


@everywhere
@kinds
def test_a_view_accepts(server: Server, report: Channel, kind: str, request: Any):
    for _ in range(3):
        client = server.open(address(kind, "accept", report, session="1"))
        report.expect("accept")
        report.expect("accepted")
        for message in ("one", "two", "x" * 70_000):
            client.send(message)
            assert client.receive() == message
        assert client.response is not None
        if not lacks(SENDS_HEADERS, request):
            assert client.response.get("X-Decided") == "by hand"
            cookies = client.response.all("Set-Cookie")
            assert "decided=1" in cookies
            sessions = [cookie.startswith("sessionid=") for cookie in cookies]
            assert any(sessions)
        assert client.close().close_code == 1000
        report.expect("end")


@everywhere
@kinds
def test_it_chooses_a_subprotocol(server: Server, report: Channel, kind: str):
    client = server.open(
        address(kind, "accept", report, subprotocol="second"),
        [("Sec-WebSocket-Protocol", "first, second")],
    )
    assert client.response is not None
    assert client.response.get("Sec-WebSocket-Protocol") == "second"
    client.send("x")
    assert client.receive() == "x"
    client.close()


@everywhere
@kinds
@pytest.mark.parametrize(
    ("do", "status"), [("refuse", 410), ("redirect", 302), ("raise", 403)]
)
def test_it_refuses(
    server: Server, report: Channel, kind: str, do: str, status: int, request: Any
):
    response = server.client().refused(address(kind, do, report))
    if not lacks(HAS_STATUS, request):
        assert response.status == status
        if do == "refuse":
            assert response.body == b"the view says no"
        if do == "redirect":
            assert response.get("Location") == "/login"
    if do != "redirect":
        server.logged("Gone|Forbidden")
    with server.open(address(kind, "accept", report)) as client:
        client.send("x")
        assert client.receive() == "x"
    server.begin()


@everywhere
@kinds
def test_it_has_a_time_limit(server: Server, report: Channel, kind: str, request: Any):
    client = server.client()
    response = client.refused(address(kind, "late", report))
    # The server closes the connection when it has written its log.
    with contextlib.suppress(OSError):
        client.half_close()
        client.rest()
    if not lacks(HAS_STATUS, request):
        assert response.status == 503
        assert b"ACCEPT_TIMEOUT" in response.body
    assert "ACCEPT_TIMEOUT" in server.logged("ACCEPT_TIMEOUT")
    if kind == "sync":
        report.expect("accept")
        assert "RuntimeError" in report.expect("accepted")["raised"]
        eventually(lambda: "Error in the WebSocket view" in server.text())
    server.begin()


@pytest.mark.parametrize("server", CONTRACT, indirect=True)
@kinds
def test_a_late_view_in_a_transaction_leaves_requests_alone(
    server: Server, report: Channel, kind: str
):
    client = server.client()
    response = client.refused(f"/deciding/{kind}/dwells?key={report.key}")
    assert response.status == 503
    report.expect("inside")
    # Meanwhile the view is inside of its transaction.
    for _ in range(3):
        assert server.get("/deciding/count").status == 200
    report.expect("done")
    assert "ACCEPT_TIMEOUT" in server.logged("ACCEPT_TIMEOUT")
    server.begin()


@everywhere
@kinds
def test_descriptors_come_back(server: Server, report: Channel, kind: str):
    worker = server.worker()

    def some() -> None:
        for do in ("refuse", "raise", "accept"):
            client = server.client()
            client.sendall(client.handshake(address(kind, do, report)))
            head = client.read_head()
            assert head.status in (101, 403, 410, 500), head
            client.reset()
        gone = server.client()
        gone.sendall(gone.handshake(address(kind, "accept", report)))
        gone.reset()

    for _ in range(3):
        some()
    assert server.get("/ping").body == b"pong"
    eventually(lambda: server.info() is not None)
    before = worker.num_fds()
    for _ in range(10):
        some()
    eventually(
        lambda: worker.num_fds() <= before + 3,
        what=f"{worker.num_fds()} descriptors after {before}",
    )
    server.begin()


@kinds
@pytest.mark.parametrize(
    "spec",
    ["gunicorn-gthread", "gunicorn-gevent", "waitress", "uvicorn", "uvicorn-queue"],
)
def test_a_stop_does_not_wait_for_it(pool: Pool, report: Channel, kind: str, spec: str):
    settings = {"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 2, "SHUTDOWN_SPREAD": 0}}
    server = pool.fresh(spec, settings=settings)
    client = server.client()
    client.sendall(client.handshake(address(kind, "slow", report)))
    report.expect("deciding")
    server.signal()
    # The client gets a refusal or a WebSocket that is closed, or the end. (uvicorn
    # itself answers 500 at once.)
    with contextlib.suppress(EOFError, OSError):
        head = client.read_head()
        assert head.status in (101, 500 if spec.startswith("uvicorn") else 503)
    client.drop()
    assert server.wait() in server.spec.statuses
    assert "Traceback" not in server.text(0)
    server.begin()

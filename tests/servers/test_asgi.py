"""Every behaviour under every ASGI server, but for the table of docs/servers.md."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.docs import pages

from . import frames
from .client import WsClient, eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .site.settings import INSTALLED_APPS, MIDDLEWARE
from .specs import ADOPTING, ASGI_SPECS, runserver
from .test_stop import GRACE

MEGABYTE = "0123456789abcdef" * 65_536
_MIDDLEWARE = (
    "tests.servers.site.behaviours.synchronous",
    "tests.servers.site.behaviours.Asynchronous",
)

Behaviour = Callable[[Server, Channel], None]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    """Have a function run under every server; its name is that of the table."""
    BEHAVIOURS[function.__name__.replace("_", " ")] = function
    return function


def exceptions() -> dict[tuple[str, str], str]:
    """Return what servers cannot do: what happens instead, by behaviour and server."""
    page = pages.ROOT / "docs" / "servers.md"
    found = {}
    for name, servers, instead in pages.rows(pages.section(page, "What is different")):
        for server in servers.split(","):
            found[name.strip("`"), server.strip(" `")] = instead
    return found


EXCEPTIONS = exceptions()


def test_the_table_names_behaviours_and_servers():
    assert EXCEPTIONS
    for name, server in EXCEPTIONS:
        assert name in {*BEHAVIOURS, STOP}, name
        assert server in ASGI_SPECS, server


def talk(server: Server, report: Channel, **headers: str) -> WsClient:
    """Open the view that does what its messages say; wait until it runs."""
    client = server.open(f"/behaviours/talk?key={report.key}", headers.items())
    return client


def do(client: WsClient, kind: str, **options: Any) -> None:
    client.send(json.dumps({"do": kind, **options}))


def ends(client: WsClient) -> None:
    """Check that nothing follows the Close frame but the end of the connection."""
    # The end itself is the server's business; some end with a reset.
    with contextlib.suppress(ConnectionResetError):
        assert client.rest() == b""


# Messages.


@behaviour
def echoes_text_and_bytes(server: Server, report: Channel) -> None:
    client = server.open("/modern/echo")
    for message in ("hello", "grüße, 你好", "x" * 126, "y" * 70_000, b"\xff\x00"):
        client.send(message)
        assert client.receive() == message
    assert client.close().close_code == 1000


@behaviour
def echoes_an_empty_message(server: Server, report: Channel) -> None:
    client = server.open("/modern/echo")
    for message in ("", b""):
        client.send(message)
        assert client.receive() == message
    client.close()


@behaviour
def a_megabyte_both_ways(server: Server, report: Channel) -> None:
    client = server.open("/modern/large")
    client.send(MEGABYTE)
    assert client.receive() == MEGABYTE
    client.close()


@behaviour
def a_fragmented_message(server: Server, report: Channel) -> None:
    client = server.open("/modern/echo")
    client.frame(frames.TEXT, b"one, ", fin=False)
    client.frame(frames.PING, b"between")
    client.frame(frames.CONTINUATION, b"two")
    pong = client.read_frame()
    assert (pong.opcode, pong.payload) == (frames.PONG, b"between")
    assert client.receive() == "one, two"
    client.close()


@behaviour
def a_flood_comes_back_in_order(server: Server, report: Channel) -> None:
    client = server.open("/modern/echo")
    count = 3_000
    sent = b"".join(
        frames.encode(frames.TEXT, str(number).encode()) for number in range(count)
    )
    client.sendall(sent)
    for number in range(count):
        assert client.receive() == str(number)
    assert server.get("/ping").body == b"pong"
    client.close()


@behaviour
def many_connections_leave_http_alone(server: Server, report: Channel) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.open("/modern/echo")) for _ in range(60)]
        assert server.get("/ping").body == b"pong"
        assert server.post("/upload", b"x" * 100_000).status == 200
        for number, client in enumerate(clients):
            client.send(f"client {number}")
        for number, client in enumerate(clients):
            assert client.receive() == f"client {number}"


# The request.


@behaviour
def the_view_sees_the_request(server: Server, report: Channel) -> None:
    client = talk(server, report, Cookie="flavour=sweet", **{"User-Agent": "test"})
    seen = report.expect("open")
    assert seen["path"] == f"/behaviours/talk?key={report.key}"
    assert (seen["method"], seen["scheme"], seen["secure"]) == ("GET", "http", False)
    assert (seen["agent"], seen["cookie"]) == ("test", "sweet")
    address, port = client.sock.getsockname()
    assert seen["address"] == [address, port]
    client.close()


@behaviour
def a_login_is_seen(server: Server, report: Channel) -> None:
    response = server.get("/login?name=grace")
    [cookie] = [c for c in response.all("Set-Cookie") if c.startswith("sessionid=")]
    client = talk(server, report, Cookie=cookie.partition(";")[0])
    seen = report.expect("open")
    assert (seen["user"], seen["count"]) == ("grace", 1)
    client.close()


@behaviour
def the_subprotocol_is_chosen(server: Server, report: Channel) -> None:
    client = talk(server, report, **{"Sec-WebSocket-Protocol": "first, second"})
    assert client.response is not None
    assert client.response.get("Sec-WebSocket-Protocol") == "second"
    assert report.expect("open")["subprotocol"] == "second"
    client.close()


@behaviour
def the_headers_of_the_response_are_sent(server: Server, report: Channel) -> None:
    client = talk(server, report)
    assert client.response is not None
    assert client.response.get("X-Content-Type-Options") == "nosniff"
    client.close()


@behaviour
def no_subprotocol_is_made_up(server: Server, report: Channel) -> None:
    client = talk(server, report)
    assert client.response is not None
    assert client.response.get("Sec-WebSocket-Protocol") is None
    assert report.expect("open")["subprotocol"] is None
    client.close()


# The end.


@behaviour
def the_peers_close_reaches_the_view(server: Server, report: Channel) -> None:
    client = talk(server, report)
    client.sendall(frames.encode_close(4321, "so long"))
    assert report.expect("closed")[0] == 4321
    report.expect("end")


@behaviour
def the_peers_close_is_answered_with_its_code(server: Server, report: Channel) -> None:
    client = talk(server, report)
    client.sendall(frames.encode_close(4321, "so long"))
    assert client.read_close().close_code == 4321
    ends(client)


@behaviour
def the_peers_reason_reaches_the_view(server: Server, report: Channel) -> None:
    client = talk(server, report)
    client.sendall(frames.encode_close(4321, "so long"))
    assert report.expect("closed") == [4321, "so long"]


@behaviour
def the_views_close_reaches_the_peer(server: Server, report: Channel) -> None:
    client = talk(server, report)
    do(client, "close", code=4002, reason="enough")
    frame = client.read_close()
    assert (frame.close_code, frame.close_reason) == (4002, "enough")
    report.expect("end")
    client.sendall(frames.encode_close(4002))
    ends(client)


@behaviour
def a_view_that_returns_closes_with_1000(server: Server, report: Channel) -> None:
    client = talk(server, report)
    do(client, "return")
    assert client.read_close().close_code == 1000
    report.expect("end")


@behaviour
def a_view_that_raises_closes_with_1011(server: Server, report: Channel) -> None:
    client = talk(server, report)
    do(client, "raise")
    assert client.read_close().close_code == 1011
    assert "RuntimeError: on purpose" in server.logged("on purpose")


@behaviour
def a_view_that_refuses_closes_with_1008(server: Server, report: Channel) -> None:
    client = talk(server, report)
    do(client, "refuse")
    assert client.read_close().close_code == 1008
    assert "on purpose" in server.logged("on purpose")


@behaviour
def a_message_that_is_too_big_closes_with_1009(server: Server, report: Channel) -> None:
    client = server.open("/modern/echo")
    client.send("x" * (2 << 20))
    assert client.read_close().close_code == 1009


@behaviour
def a_peer_that_vanishes_ends_the_view(server: Server, report: Channel) -> None:
    for going in (WsClient.drop, WsClient.reset):
        client = talk(server, report)
        report.expect("open")
        going(client)
        report.expect("end")
    assert server.get("/ping").body == b"pong"


@behaviour
def a_peer_that_vanishes_is_seen_as_1006(server: Server, report: Channel) -> None:
    client = talk(server, report)
    report.expect("open")
    client.drop()
    assert report.expect("closed") == [1006, ""]


@behaviour
def a_peer_that_vanishes_in_the_handshake_does_no_harm(
    server: Server, report: Channel
) -> None:
    for _ in range(5):
        client = server.client()
        client.sendall(client.handshake("/behaviours/talk"))
        client.reset()
    assert server.get("/ping").body == b"pong"
    echoes_text_and_bytes(server, report)
    # A server may have something to say about it.
    server.begin()


@behaviour
def a_slow_reader_is_closed(server: Server, report: Channel) -> None:
    client = talk(server, report)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    do(client, "pour", size=200_000)
    assert report.expect("poured") is False
    # Nobody else waits for it.
    assert server.get("/ping").body == b"pong"
    report.expect("end")


@behaviour
def descriptors_come_back(server: Server, report: Channel) -> None:
    worker = server.worker()
    for _ in range(2):
        server.open("/modern/echo").close()
    eventually(lambda: True)
    before = worker.num_fds()
    clients = [server.open("/modern/echo") for _ in range(20)]
    assert worker.num_fds() > before
    for number, client in enumerate(clients):
        (client.drop, client.reset, client.close)[number % 3]()
    eventually(
        lambda: worker.num_fds() <= before,
        what=f"{worker.num_fds()} descriptors after {before}",
    )


# Others.


@behaviour
def a_push_reaches_the_members_of_a_group(server: Server, report: Channel) -> None:
    group = f"g{report.key}"
    clients = [talk(server, report) for _ in range(10)]
    for client in clients:
        do(client, "join", group=group)
        assert client.receive() == "joined"
    sent = json.loads(server.get(f"/behaviours/publish?group={group}&size=100").body)
    assert sent == {"local": 10, "dropped": 0}
    for client in clients:
        assert client.receive() == "m" * 100
    clients.pop().close()
    counted = f"/behaviours/members?group={group}"
    eventually(lambda: json.loads(server.get(counted).body) == {"count": 9})


@behaviour
def drops_of_a_slow_member_are_counted(server: Server, report: Channel) -> None:
    client = server.open(f"/behaviours/bounded?key={report.key}&group={report.key}")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    report.expect("open")
    sent = server.get(f"/behaviours/publish?group={report.key}&size=100000&count=300")
    assert json.loads(sent.body)["dropped"] > 0
    client.drop()
    assert report.expect("dropped") > 0


@behaviour
def the_origin_of_another_site_is_refused(server: Server, report: Channel) -> None:
    client = server.client()
    response = client.refused("/exempt", [("Origin", "https://evil.example")])
    assert response.status == 403
    assert "WebSocket refused (403)" in server.logged("WebSocket refused")


@behaviour
def a_refusal_has_its_status_and_its_text(server: Server, report: Channel) -> None:
    client = server.client()
    response = client.refused("/nothing-is-here")
    assert response.status == 404
    assert b"Not Found" in response.body
    assert "Not Found" in server.logged("Not Found")


def _marks(name: str, server: str) -> list[Any]:
    instead = EXCEPTIONS.get((name, server))
    return [] if instead is None else [pytest.mark.xfail(reason=instead, strict=True)]


def _run(server: str, name: str) -> Any:
    return pytest.param(
        *(server, name, (name, server) not in EXCEPTIONS),
        id=f"{server}-{name.replace(' ', '-')}",
        marks=_marks(name, server),
    )


@pytest.mark.parametrize(
    ("server", "name", "possible"),
    [_run(server, name) for server in ASGI_SPECS for name in BEHAVIOURS],
    indirect=["server"],
)
def test_behaviour(server: Server, report: Channel, name: str, possible: bool):
    try:
        BEHAVIOURS[name](server, report)
    finally:
        if not possible:
            server.begin()


# What has a server of its own.

one_of_each = pytest.mark.parametrize(
    "spec",
    ["uvicorn", "uvicorn-queue", "gunicorn-asgi", "hypercorn", "daphne", "granian"],
)


STOP = "a stop closes with 1012"
SENDS_HEADERS = "the headers of the response are sent"
HAS_STATUS = "a refusal has its status and its text"


@pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, marks=_marks(STOP, spec)) for spec in ASGI_SPECS],
)
def test_a_stop_says_goodbye_and_waits_for_the_views(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec)
    clients = [server.open(f"/careful?key={report.key}") for _ in range(3)]
    for _ in range(3):
        report.expect("open")
    clients.append(server.open("/modern/echo"))
    start = time.monotonic()
    server.signal()
    for client in clients:
        frame = client.read_close()
        assert frame.close_code == 1012
        with contextlib.suppress(OSError):
            client.sendall(frames.encode_close(1012))
        client.drop()
    for _ in range(3):
        report.expect("cleaned up")
    status = server.wait()
    assert time.monotonic() - start < GRACE / 2
    assert status in server.spec.statuses
    assert server.errors() == []


@one_of_each
def test_sync_and_async_middleware_are_passed(
    variant: Callable[..., Server], report: Channel, spec: str
):
    server = variant(spec, settings={"MIDDLEWARE": [*MIDDLEWARE, *_MIDDLEWARE]})
    client = talk(server, report)
    assert client.response is not None
    if (SENDS_HEADERS, spec) not in EXCEPTIONS:
        assert client.response.get("X-Sync") == "passed"
        assert client.response.all("Set-Cookie") == ["passed=through; Path=/"]
    assert report.expect("open")["stamps"] == ["sync", "async"]
    client.close()


@one_of_each
def test_the_limit_of_connections_holds(variant: Callable[..., Server], spec: str):
    server = variant(spec, settings={"DWEBSOCKET": {"MAX_CONNECTIONS": 1}})
    with server.open("/modern/echo"):
        client = server.client()
        response = client.refused("/modern/echo")
        assert response.status == (403 if (HAS_STATUS, spec) in EXCEPTIONS else 503)
        server.logged("is the limit")
    eventually(lambda: _opens(server))
    server.begin()


def _opens(server: Server) -> bool:
    client = server.client()
    client.sendall(client.handshake("/modern/echo"))
    opened = client.read_head().status == 101
    if opened:
        client.close()
    return opened


@pytest.mark.parametrize("spec", ["uvicorn", "hypercorn", "gunicorn-asgi"])
def test_a_server_that_speaks_tls_keeps_its_socket(
    variant: Callable[..., Server], report: Channel, tmp_path_factory: Any, spec: str
):
    directory = tmp_path_factory.getbasetemp()
    certificate, key = directory / "asgi.pem", directory / "asgi.key"
    if not certificate.exists():
        issued = trustme.CA().issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
    options = {
        "uvicorn": (f"--ssl-certfile={certificate}", f"--ssl-keyfile={key}"),
    }.get(spec, (f"--certfile={certificate}", f"--keyfile={key}"))
    server = variant(spec, args=options, tls=True)
    client = talk(server, report)
    seen = report.expect("open")
    assert (seen["scheme"], seen["secure"]) == ("https", True)
    do(client, "return")
    assert client.read_close().close_code == 1000


def test_daphnes_runserver_serves(pool: Pool, report: Channel):
    spec = runserver("--noreload")
    settings = {"INSTALLED_APPS": ["daphne", *INSTALLED_APPS]}
    server = pool.fresh(spec, settings=settings)
    client = talk(server, report)
    report.expect("open")
    do(client, "close", code=4002, reason="enough")
    frame = client.read_close()
    assert (frame.close_code, frame.close_reason) == (4002, "enough")
    assert "daphne" in server.text(0).lower()


@pytest.mark.parametrize("spec", ADOPTING)
def test_the_engine_has_the_socket(variant: Callable[..., Server], spec: str):
    server = variant(spec, settings={"DWEBSOCKET": {"PING_INTERVAL": 0.2}})
    client = server.open("/modern/echo")
    # The servers' own pings come later, or never.
    assert client.read_frame().opcode == frames.PING
    client.drop()


@pytest.mark.parametrize("spec", ADOPTING)
def test_an_adopted_socket_leaves_nothing_in_the_servers_loop(
    variant: Callable[..., Server], spec: str
):
    """A registration that outlives the handover would wake the loop for each frame."""
    server = variant(spec)
    worker = server.worker().pid
    client = server.open("/modern/echo")
    client.send("hello")
    assert client.receive() == "hello"
    inode = _inode(client)
    eventually(lambda: _holders(worker, inode) == 1)
    # The engine's poller watches it.
    assert _watchers(worker, inode) == 1
    client.close()


def _inode(client: WsClient) -> int:
    """Return the inode of the server's end of a connection."""
    ports = [
        f":{sock[1]:04X}"
        for sock in (client.sock.getpeername(), client.sock.getsockname())
    ]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(ports[0]) and words[2].endswith(ports[1]):
            return int(words[9])
    raise AssertionError("the server has no such connection")


def _holders(pid: int, inode: int) -> int:
    """Return how many descriptors of a process refer to a socket."""
    return sum(link == f"socket:[{inode}]" for _, link in _descriptors(pid))


def _watchers(pid: int, inode: int) -> int:
    """Return in how many epoll instances of a process a socket is registered."""
    # An instance may have several descriptors, which show the same registrations.
    instances = {
        Path(f"/proc/{pid}/fdinfo/{number}").read_text()
        for number, link in _descriptors(pid)
        if link == "anon_inode:[eventpoll]"
    }
    return sum(bool(re.search(rf"\bino:{inode:x}\b", text)) for text in instances)


def _descriptors(pid: int) -> Iterator[tuple[str, str]]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield path.name, os.readlink(path)

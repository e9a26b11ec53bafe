"""What is special to ASGI servers; see test_behaviours.py for the rest."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trustme

from . import frames
from .behaviours import Site, do
from .client import WsClient, eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .site.settings import INSTALLED_APPS, MIDDLEWARE
from .specs import ADOPTING, ASGI_SPECS, runserver
from .table import EXCEPTIONS, HAS_STATUS, SENDS_HEADERS
from .test_stop import GRACE, all_kinds_end, open_all_kinds

_MIDDLEWARE = (
    "tests.servers.site.passing.synchronous",
    "tests.servers.site.passing.Asynchronous",
)

one_of_each = pytest.mark.parametrize(
    "spec",
    ["uvicorn", "uvicorn-queue", "gunicorn-asgi", "hypercorn", "daphne", "granian"],
)


@pytest.mark.parametrize("spec", ASGI_SPECS)
def test_a_stop_says_goodbye_and_waits_for_the_views(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec)
    clients = open_all_kinds(server, report)
    clients.append(server.open("/modern/echo"))
    start = time.monotonic()
    server.signal()
    for client in clients:
        frame = client.read_close()
        assert frame.close_code == 1012
        with contextlib.suppress(OSError):
            client.sendall(frames.encode_close(1012))
        client.drop()
    all_kinds_end(report)
    status = server.wait()
    assert time.monotonic() - start < GRACE / 2
    assert status in server.spec.statuses
    assert server.errors() == []


@one_of_each
def test_sync_and_async_middleware_are_passed(
    variant: Callable[..., Server], report: Channel, spec: str
):
    server = variant(spec, settings={"MIDDLEWARE": [*MIDDLEWARE, *_MIDDLEWARE]})
    client = Site(server, report, "def").talk()
    assert client.response is not None
    if (SENDS_HEADERS, "def", spec) not in EXCEPTIONS:
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
        assert response.status == (
            403 if (HAS_STATUS, "def", spec) in EXCEPTIONS else 503
        )
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
    client = Site(server, report, "def").talk()
    seen = report.expect("open")
    assert (seen["scheme"], seen["secure"]) == ("https", True)
    do(client, "return")
    assert client.read_close().close_code == 1000


def test_daphnes_runserver_serves(pool: Pool, report: Channel):
    spec = runserver("--noreload")
    settings = {"INSTALLED_APPS": ["daphne", *INSTALLED_APPS]}
    server = pool.fresh(spec, settings=settings)
    client = Site(server, report, "def").talk()
    report.expect("open")
    do(client, "close", code=4002, reason="enough")
    frame = client.read_close()
    assert (frame.close_code, frame.close_reason) == (4002, "enough")
    assert "daphne" in server.text(0).lower()


class Streams:
    """A client of HTTP/2 in plain text."""

    def __init__(self, address: Any) -> None:
        config = h2.config.H2Configuration(header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(config=config)
        self._sock = socket.create_connection(address, 20)
        self.connection.initiate_connection()
        self._data: dict[int, bytes] = {}
        self._statuses: dict[int, str] = {}

    def _flush(self) -> None:
        self._sock.sendall(self.connection.data_to_send())

    def open(self, stream: int, method: str, path: str, **more: str) -> str:
        """Open a stream; return the status of its answer."""
        headers = {":method": method, ":scheme": "http", ":authority": "localhost"}
        headers |= {":path": path} | {f":{name}": more[name] for name in more}
        fields = list(headers.items())
        if "protocol" in more:
            fields.append(("sec-websocket-version", "13"))
        self.connection.send_headers(stream, fields, end_stream=method == "GET")
        self.until(lambda: stream in self._statuses)
        return self._statuses[stream]

    def send(self, stream: int, data: bytes) -> None:
        """Send data on a stream."""
        self.connection.send_data(stream, data)
        self._flush()

    def data(self, stream: int) -> bytes:
        """Return what has come on a stream."""
        return self._data.get(stream, b"")

    def until(self, condition: Callable[[], bool]) -> None:
        """Read until a condition holds."""
        self._flush()
        while not condition():
            received = self._sock.recv(65_536)
            assert received, "the server has closed the connection"
            for event in self.connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    self._statuses[event.stream_id] = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    self._data[event.stream_id] = (
                        self.data(event.stream_id) + event.data
                    )
            self._flush()

    def close(self) -> None:
        """Cut the connection off."""
        self._sock.close()


def test_a_stream_of_http_2_leaves_the_others_alone(variant: Callable[..., Server]):
    server = variant("hypercorn")
    client = Streams(server.address)
    assert client.open(1, "GET", "/ping") == "200"
    assert client.open(3, "CONNECT", "/modern/echo", protocol="websocket") == "200"
    assert client.open(5, "GET", "/ping") == "200"
    client.send(3, frames.encode(frames.TEXT, b"hello"))
    echo = b"\x81\x05hello"
    client.until(lambda: client.data(3) == echo)
    assert client.open(7, "GET", "/ping") == "200"
    client.close()


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


@pytest.mark.parametrize("server", ASGI_SPECS, indirect=True)
def test_an_asynchronous_view_is_cancelled_when_its_peer_goes(
    server: Server, report: Channel
):
    client = server.open(f"/aio/cancelled?key={report.key}")
    report.expect("open")
    client.drop()
    report.expect("cancelled")


@pytest.mark.parametrize("server", ASGI_SPECS, indirect=True)
def test_an_asynchronous_view_queries_in_its_thread(server: Server):
    client = server.open("/aio/query")
    client.send("again")
    assert client.receive() == "42"
    client.close()

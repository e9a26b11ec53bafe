"""What the documentation says of nginx: time limits, TLS, Origin."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.servers import frames
from tests.servers.client import WsClient
from tests.servers.harness import Server

from .conftest import site_spec, uwsgi_spec
from .nginx import Nginx

Proxied = Callable[..., Nginx]


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    """Return a function that runs the site with settings, and nginx before it."""
    running: list[Any] = []

    def start(settings: dict[str, Any], **options: Any) -> Nginx:
        directory = tmp_path / "site"
        directory.mkdir()
        env = {"INTEROP_SETTINGS": json.dumps(settings)}
        spec = uwsgi_spec() if options.get("uwsgi") else site_spec()
        server = Server(spec, directory, env=env)
        running.append(server.kill)
        if options.get("uwsgi"):
            # It speaks no HTTP: nginx tells whether it is there.
            server._spawn()
            server.logged("spawned uWSGI worker 1")
        else:
            server.start()
        nginx = Nginx(server.address, tmp_path, **options)
        running.append(nginx.stop)
        nginx.start()
        return nginx

    yield start
    for stop in reversed(running):
        stop()


#: So short that a test can wait for it.
SHORT = {"proxy_read_timeout 60s": "proxy_read_timeout 1s"}


def opened(nginx: Nginx) -> WsClient:
    """Return a client that has shaken hands through nginx."""
    client = WsClient(("127.0.0.1", nginx.port))
    client.open(f"/echo?id={uuid.uuid4().hex}")
    return client


def test_pings_keep_an_idle_connection_open(proxied: Proxied) -> None:
    nginx = proxied({"PING_INTERVAL": 0.3}, changes=SHORT)
    with opened(nginx) as client:
        for _ in range(7):  # more than two seconds of nothing else
            ping = client.read_frame()
            assert ping.opcode == frames.PING
            client.frame(frames.PONG, ping.payload)
        client.send("still there")
        assert client.receive() == "still there"


def test_nginx_cuts_an_idle_connection_without_pings(proxied: Proxied) -> None:
    nginx = proxied({"PING_INTERVAL": None}, changes=SHORT)
    with opened(nginx) as client, pytest.raises(EOFError):
        client.read_frame()


def test_tls_is_nginx_work_and_origin_must_be_https(proxied: Proxied) -> None:
    nginx = proxied({}, tls=True)
    context = ssl.create_default_context(cafile=str(nginx.certificate))
    host = f"127.0.0.1:{nginx.tls_port}"
    url = f"wss://{host}/echo?id={uuid.uuid4().hex}"
    with connect(url, ssl=context, origin=f"https://{host}", proxy=None) as ws:
        ws.send("over TLS")
        assert ws.recv(10) == "over TLS"
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url, ssl=context, origin=f"http://{host}", proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_only_a_page_of_the_proxy_may_connect(proxied: Proxied) -> None:
    nginx = proxied({})
    host = f"127.0.0.1:{nginx.port}"
    url = f"ws://{host}/echo?id={uuid.uuid4().hex}"
    with connect(url, origin=f"http://{host}", proxy=None) as ws:
        ws.send("same origin")
        assert ws.recv(10) == "same origin"
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url, origin="http://elsewhere.example", proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_uwsgis_own_protocol_passes_everything_on(proxied: Proxied) -> None:
    changes = {"uwsgi_read_timeout 60s": "uwsgi_read_timeout 1s"}
    nginx = proxied({"PING_INTERVAL": 0.3}, uwsgi=True, tls=True, changes=changes)
    for early in (b"", b"early", b"e" * 5000):
        with WsClient(("127.0.0.1", nginx.port)) as client:
            frame = frames.encode(frames.TEXT, early) if early else b""
            client.open(f"/echo?id={uuid.uuid4().hex}", then=frame)
            if early:
                assert client.receive() == early.decode()
            client.send("x" * 100_000)
            assert client.receive() == "x" * 100_000
            for _ in range(4):  # more than a second of nothing else
                ping = client.read_frame()
                assert ping.opcode == frames.PING
                client.frame(frames.PONG, ping.payload)
            client.sendall(frames.encode_close(1000))
            assert client.read_close().close_code == 1000
    context = ssl.create_default_context(cafile=str(nginx.certificate))
    host = f"127.0.0.1:{nginx.tls_port}"
    url = f"wss://{host}/echo?id={uuid.uuid4().hex}"
    with connect(url, ssl=context, origin=f"https://{host}", proxy=None) as ws:
        ws.send("over TLS")
        assert ws.recv(10) == "over TLS"
    for wrong in (f"http://{host}", "https://elsewhere.example"):
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(url, ssl=context, origin=wrong, proxy=None),
        ):
            pass
        assert caught.value.response.status_code == 403

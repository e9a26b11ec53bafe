"""A handshake that is refused is answered in plain HTTP, and HTTP goes on."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import Any

import pytest

from .client import HttpClient, WsClient, eventually
from .harness import Server
from .pool import Pool
from .specs import SITE, SPECS, gunicorn, script, uwsgi

REFUSALS: list[tuple[str, int, dict[str, Any]]] = [
    ("no key", 400, {"without": ["Sec-WebSocket-Key"]}),
    ("a short key", 400, {"headers": [("Sec-WebSocket-Key", "c2hvcnQ=")]}),
    ("no Connection header", 400, {"headers": [("Connection", "keep-alive")]}),
    ("no version", 400, {"without": ["Sec-WebSocket-Version"]}),
    ("an old version", 426, {"headers": [("Sec-WebSocket-Version", "8")]}),
    ("another method", 405, {"method": "PUT"}),
    ("another site's page", 403, {"headers": [("Origin", "https://evil.example")]}),
]


@pytest.mark.parametrize("server", SPECS, indirect=True)
@pytest.mark.parametrize(
    ("status", "request_options"),
    [case[1:] for case in REFUSALS],
    ids=[case[0].replace(" ", "-") for case in REFUSALS],
)
def test_a_refusal_is_an_ordinary_response(
    server: Server, status: int, request_options: dict[str, Any]
):
    client = server.client()
    response = client.refused("/exempt", **request_options)
    assert response.status == status
    assert len(response.body) > 20, "it does not say why"
    if status == 426:
        assert response.get("Sec-WebSocket-Version") == "13"
    if status == 405:
        assert response.get("Allow") == "GET"
    _goes_on(server, client, response.get("Connection") or "")
    assert f"WebSocket refused ({status})" in server.logged(r"WebSocket refused")


def _goes_on(server: Server, client: HttpClient, connection: str) -> None:
    """Check that the same connection, where it is kept, takes another request."""
    try:
        if connection.lower() == "close":
            raise EOFError
        response = client.request("/ping", [("Connection", "close")])
    except (EOFError, ConnectionResetError, BrokenPipeError):
        # A server without keep-alive, or uWSGI's router, which closes after an upgrade.
        response = server.get("/ping")
    assert response.body == b"pong"
    with server.open("/echo") as websocket:
        websocket.send("still here")
        assert websocket.receive() == "still here"


@pytest.mark.parametrize("server", SPECS, indirect=True)
def test_http_on_a_kept_connection_turns_into_a_websocket(server: Server):
    client = server.client()
    first = client.request("/ping", [("Connection", "keep-alive")])
    assert first.body == b"pong"
    try:
        if (first.get("Connection") or "").lower() == "close":
            raise EOFError
        client.sendall(client.handshake("/echo"))
        client.accepted()
    except (EOFError, ConnectionResetError, BrokenPipeError):
        # No keep-alive here: the same on a connection of its own.
        client = server.open("/echo")
    client.send("hello")
    assert client.receive() == "hello"
    client.sendall(b"\x88\x80abcd")
    assert client.read_close().payload == b""
    assert client.rest() == b""


UNAVAILABLE = {
    "unknown server": (script("serve_unknown", signal.SIGTERM, "(?!)"), "gunicorn"),
    "uwsgi without threads": (
        uwsgi("--http-socket", "ADDRESS"),
        "--enable-threads",
    ),
    "uwsgi router without websockets": (
        uwsgi("--http", "ADDRESS", "--enable-threads"),
        "--http-websockets",
    ),
    "uwsgi router with websockets switched off": (
        uwsgi("--http", "ADDRESS", "--enable-threads", "--ini", f"{SITE}/off.ini"),
        "--http-websockets",
    ),
    "uwsgi with gevent": (
        uwsgi("--http-socket", "ADDRESS", "--gevent", "10", "--enable-threads"),
        "--threads",
    ),
}


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_a_socket_that_cannot_be_had_is_a_501_that_says_what_to_do(
    pool: Pool, name: str
):
    spec, advice = UNAVAILABLE[name]
    server = pool.fresh(spec)
    response = server.client().refused("/echo")
    assert response.status == 501
    assert advice in response.body.decode()
    log = server.logged(r"WebSocket refused \(501\)")
    assert advice in log
    assert server.get("/ping").body == b"pong"
    assert server.get("/echo").body == b"please connect with a WebSocket"


WARNED = {
    "--http-raw-body": uwsgi(
        *("--http", "ADDRESS", "--http-websockets", "--enable-threads"), relayed=True
    ),
    "--cheaper": uwsgi(
        *("--http-socket", "ADDRESS", "--enable-threads"),
        *("--processes", "2", "--cheaper", "1"),
    ),
    "--max-requests": uwsgi(
        *("--http-socket", "ADDRESS", "--enable-threads", "-R", "500"),
    ),
}


@pytest.mark.parametrize("option", WARNED)
def test_an_option_that_costs_messages_or_connections_is_a_warning(
    pool: Pool, option: str
):
    server = pool.fresh(WARNED[option])
    for _ in range(2):
        with server.open("/echo") as client:
            client.send("hello")
            assert client.receive() == "hello"
    assert option in server.text()
    # Once in each process.
    assert server.text().count("WARNING dwebsocket.handshake") == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return gunicorn's options for a certificate made for this run."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    directory = tmp_path_factory.mktemp("certificate")
    key, cert = str(directory / "key.pem"), str(directory / "cert.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return ["--certfile", cert, "--keyfile", key]


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_tls_socket_is_a_501_that_says_what_to_do(
    pool: Pool, certificate: list[str], worker: str
):
    server = pool.fresh(gunicorn(worker), args=certificate, tls=True)
    response = server.client().refused("/echo")
    assert response.status == 501
    assert "reverse proxy" in response.body.decode()
    assert "TLS" in server.logged(r"WebSocket refused \(501\)")
    assert server.get("/ping").body == b"pong"


@pytest.mark.parametrize(
    "spec",
    ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "waitress"],
)
def test_a_unix_socket_is_as_good_as_a_port(pool: Pool, spec: str):
    server = pool.fresh(spec, unix=True)
    client = server.open("/echo")
    assert server.get("/ping").body == b"pong"
    client.send("hello")
    assert client.receive() == "hello"
    assert client.close(3000).close_code == 3000
    assert server.errors() == []


def test_past_the_limit_of_connections_the_answer_is_503(pool: Pool):
    server = pool.fresh(
        "gunicorn-sync", settings={"DWEBSOCKET": {"MAX_CONNECTIONS": 3}}
    )
    clients = [server.open("/echo") for _ in range(3)]
    response = server.client().refused("/echo")
    assert response.status == 503
    assert response.get("Retry-After")
    assert "MAX_CONNECTIONS" in server.logged(r"WebSocket refused \(503\)")
    clients[0].close()
    client = eventually(lambda: _opened(server))
    client.send("a place is free again")
    assert client.receive() == "a place is free again"


def _opened(server: Server) -> WsClient | None:
    client = server.client()
    client.sendall(client.handshake("/echo"))
    response = client.read_head()
    return client if response.status == 101 else None

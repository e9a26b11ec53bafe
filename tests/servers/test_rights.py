"""Rights that are taken away while a connection is open, on real servers."""

from __future__ import annotations

import http.cookies
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers import frames
from tests.servers.brokers import Broker
from tests.servers.client import WsClient
from tests.servers.harness import Server
from tests.servers.nats import Nats
from tests.servers.pool import Pool
from tests.servers.redis import Redis

specs = pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gevent"])


def _login(server: Server, name: str) -> list[tuple[str, str]]:
    jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    for value in server.get(f"/login?name={name}").all("Set-Cookie"):
        jar.load(value)
    cookie = "; ".join(f"{key}={morsel.value}" for key, morsel in jar.items())
    return [("Cookie", cookie)]


def _code(client: WsClient) -> int:
    return int.from_bytes(client.read_close().payload[:2], "big")


def _answers(client: WsClient) -> bool:
    client.sendall(frames.encode_close(1000, ""))
    return _code(client) == 1000


@specs
def test_connections_that_say_nothing_end_with_their_login(
    pool: Pool, database: Path, spec: str
):
    settings = {"DWEBSOCKET": {"RECHECK_INTERVAL": 0.3}}
    server = pool.fresh(spec, settings=settings)
    name = f"silent-{spec}"
    clients = [server.open("/modern/echo", _login(server, name)) for _ in range(20)]
    others = [
        server.open("/modern/echo", _login(server, f"other-{spec}")) for _ in range(20)
    ]
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute(
            "UPDATE auth_user SET is_active = 0 WHERE username = ?", [name]
        )
    assert {_code(client) for client in clients} == {4001}
    assert all(_answers(client) for client in others)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"log": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["log"], "level": "WARNING"},
    "loggers": {"dwebsocket.users": {"level": "INFO"}},
}


@pytest.fixture(params=[None, Redis, Nats], ids=["alone", "redis", "nats"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker | None]:
    """Return a server that joins processes, or none."""
    if request.param is None:
        yield None
        return
    running = request.param()
    yield running
    running.close()


def test_a_logout_is_heard_in_all_processes(pool: Pool, broker: Broker | None):
    wanted: dict[str, Any] = {"RECHECK_INTERVAL": 600}
    if broker is not None:
        wanted["BROKER"] = broker.url
    settings = {"DWEBSOCKET": wanted, "LOGGING": LOGGING}
    count = 1 if broker is None else 2
    servers = [pool.fresh("gunicorn-gthread", settings=settings) for _ in range(count)]
    first, second = _login(servers[0], "heard"), _login(servers[0], "heard")
    clients = [server.open("/modern/echo", first) for server in servers]
    others = [server.open("/modern/echo", second) for server in servers]
    # The subscriptions are on their way; nothing tells when they have arrived.
    time.sleep(2)
    assert servers[-1].get("/logout", first).status == 200
    assert [_code(client) for client in clients] == [4001] * count
    # It was the logout itself, and no check that was due.
    assert not any("Hung up" in server.text() for server in servers)
    assert all(_answers(client) for client in others)

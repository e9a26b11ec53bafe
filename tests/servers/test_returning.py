"""A server that is told to stop or to reload: its clients come back, none is refused.

What is tested here rests on the servers: when they stop to accept, what a worker still
serves after the signal, and which process is started when.
"""

from __future__ import annotations

import os
import re
import select
import signal

import pytest

from .client import HttpClient, eventually
from .crowd import Crowd
from .harness import Server
from .pool import Pool
from .reports import Channel

COUNT = 40
SLOW = {"MIDDLEWARE": ["tests.servers.site.slow.Slow"]}
GUNICORN = ("gunicorn-sync", "gunicorn-gthread-8", "gunicorn-gevent")


def _workers(server: Server) -> set[int]:
    """Return the worker processes of a gunicorn or uWSGI."""
    return set(server.pids()) - {server.process.pid}


def _busy(server: Server, report: Channel) -> HttpClient:
    """Return the connection of a request that takes a minute."""
    client = server.http()
    client.sendall(
        f"GET /ping?slow=60&key={report.key} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    )
    report.expect("slow")
    return client


def _crowd(server: Server) -> Crowd:
    return Crowd(server.address, COUNT, first=0.2)


def _came_back(crowd: Crowd) -> None:
    """Check that all clients are back, and that each one was closed properly."""
    crowd.all_open(2 * COUNT)
    assert crowd.closed == {1012: len(crowd.entries) - COUNT}
    assert crowd.lost == 0
    assert crowd.refused == {}
    assert crowd.unreached == 0


@pytest.mark.parametrize("spec", GUNICORN)
def test_all_come_back_after_a_reload_of_gunicorn(pool: Pool, spec: str):
    server = pool.fresh(spec, args=["--workers", "2"])
    with _crowd(server) as crowd:
        crowd.all_open(COUNT)
        old = _workers(server)
        server.signal(signal.SIGHUP)
        _came_back(crowd)
        eventually(lambda: not old & _workers(server))
        assert crowd.open == COUNT
    assert server.errors() == []


@pytest.mark.parametrize("spec", GUNICORN)
def test_those_of_one_worker_come_back_when_it_is_ended(pool: Pool, spec: str):
    server = pool.fresh(spec, args=["--workers", "2"])
    with _crowd(server) as crowd:
        crowd.all_open(COUNT)
        old = server.worker().pid
        os.kill(old, signal.SIGTERM)
        eventually(lambda: old not in _workers(server))
        crowd.all_open(COUNT)
        assert set(crowd.closed) <= {1012}
        assert len(crowd.entries) == COUNT + crowd.closed[1012]
        assert (crowd.lost, crowd.refused, crowd.unreached) == (0, {}, 0)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("spec", GUNICORN)
def test_all_come_back_after_max_requests(pool: Pool, spec: str, workers: int):
    # More than twice the clients: they must not end the next worker by coming back.
    limits = ["--max-requests", str(5 * COUNT)]
    server = pool.fresh(spec, args=["--workers", str(workers), *limits])
    with _crowd(server) as crowd:
        crowd.all_open(COUNT)
        old = _workers(server)
        for _ in range(40 * COUNT):
            if not old & _workers(server):
                break
            try:
                server.get("/ping")
            except (OSError, EOFError):
                # A worker that ends may drop what it has accepted last.
                continue
        crowd.all_open(COUNT)
        assert not old & _workers(server)
        assert set(crowd.closed) == {1012}
        assert len(crowd.entries) == COUNT + crowd.closed[1012]
        assert (crowd.lost, crowd.refused, crowd.unreached) == (0, {}, 0)


def test_all_come_back_after_a_reload_of_uwsgi(pool: Pool):
    server = pool.fresh("uwsgi-http-socket", args=["--processes", "2"])
    with _crowd(server) as crowd:
        crowd.all_open(COUNT)
        server.idle()
        server.signal(signal.SIGHUP)
        _came_back(crowd)


@pytest.mark.parametrize("spec", ["gunicorn-gthread-8", "gunicorn-gevent"])
def test_a_long_request_does_not_delay_the_goodbye(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec, settings=SLOW)
    client = server.open("/echo")
    request = _busy(server, report)
    server.signal()
    assert client.read_close().close_code == 1012
    assert not select.select([request.sock], [], [], 0)[0]


@pytest.mark.parametrize("spec", ["gunicorn-gthread-8", "gunicorn-gevent"])
def test_half_a_request_does_not_delay_the_goodbye(pool: Pool, spec: str):
    server = pool.fresh(spec)
    client = server.open("/echo")
    half = server.http()
    half.sendall(b"GET /ping HTTP/1.1\r\n")
    server.get("/ping")
    server.signal()
    assert client.read_close().close_code == 1012


def test_a_handshake_after_the_signal_is_served_and_then_closed(
    pool: Pool, report: Channel
):
    server = pool.fresh("gunicorn-gthread-8", settings=SLOW)
    client = server.open("/echo")
    late = server.client()
    late.sendall(b"GET /echo HTTP/1.1\r\n")
    _busy(server, report)
    server.signal()
    assert client.read_close().close_code == 1012
    late.sendall(
        b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert late.read_head().status == 101
    assert late.read_close().close_code == 1012


@pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gevent"])
def test_a_view_that_still_runs_is_named(pool: Pool, report: Channel, spec: str):
    server = pool.fresh(spec, settings={"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 1}})
    server.open(f"/stubborn?key={report.key}")
    report.expect("open")
    server.signal()
    server.wait()
    text = server.text()
    assert re.search(r"still running after 1 seconds .*: /stubborn for a \w+ at", text)

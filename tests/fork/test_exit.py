"""The end of a server process with a hundred views at work."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.servers import frames
from tests.servers.client import WsClient, eventually
from tests.servers.harness import Server
from tests.servers.pool import Pool
from tests.servers.reports import Channel
from tests.servers.specs import gunicorn

VIEWS = 100
SPECS = [
    *("runserver", "runserver-autoreload", "waitress", "gevent-pywsgi"),
    *("gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"),
    *("gunicorn-sync-preload", "gunicorn-gthread-preload", "gunicorn-gevent-preload"),
]


def _clean(server: Server) -> None:
    text = server.text()
    for word in ("Fatal Python error", "Segmentation", "Aborted", "panicked"):
        assert word not in text
    assert server.errors() == []


@pytest.mark.parametrize("spec", SPECS)
def test_a_server_ends_cleanly_with_a_hundred_waiting_views(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec)
    clients = [server.open(f"/hold?key={report.key}") for _ in range(VIEWS)]
    for _ in clients:
        report.expect("open")
    server.signal()
    for client in clients:
        assert client.read_close().close_code == 1012
        client.sendall(frames.encode_close(1012))
    for _ in clients:
        report.expect("end")
    assert server.wait() == 0
    _clean(server)


@pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gthread", "runserver"])
def test_a_server_ends_cleanly_amid_traffic(pool: Pool, spec: str):
    server = pool.fresh(spec)
    clients = [server.open("/chatter") for _ in range(10)]
    for client in clients:
        assert client.receive() == "chatter"
    server.signal()
    for client in clients:
        assert client.read_close().close_code == 1012
        client.sendall(frames.encode_close(1012))
    assert server.wait() == 0
    _clean(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
@pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gthread"])
def test_gunicorn_ends_cleanly_by_each_of_its_signals(
    pool: Pool, report: Channel, spec: str, number: signal.Signals
):
    server = pool.fresh(spec)
    clients = [server.open(f"/hold?key={report.key}") for _ in range(10)]
    for _ in clients:
        report.expect("open")
    # In the middle of a request, the sync worker takes its own exit for an error.
    server.idle()
    server.signal(number)
    for client in clients:
        assert client.read_close().close_code == 1012
        client.sendall(frames.encode_close(1012))
    assert server.wait() == 0
    _clean(server)


PRELOADED = {
    worker: gunicorn(worker, "--preload", "--workers", "2", "--threads", "2")
    for worker in ("sync", "gthread", "gevent")
}


@pytest.mark.parametrize("worker", PRELOADED)
def test_every_preloaded_worker_serves(pool: Pool, worker: str):
    server = pool.fresh(PRELOADED[worker])
    seen: set[int] = set()
    clients: list[WsClient] = []

    def both() -> bool:
        clients.append(server.open("/pid"))
        seen.add(int(str(clients[-1].receive())))
        return len(seen) == 2

    eventually(both)
    for client in clients:
        client.send("x")
        assert client.receive() == "x"
        client.close()
    assert server.stop() == 0
    _clean(server)


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_worker_that_is_replaced_says_goodbye(pool: Pool, worker: str):
    spec = gunicorn(worker, "--max-requests", "10", "--preload")
    server = pool.fresh(spec)
    client = server.open("/pid")
    old = int(str(client.receive()))
    eventually(lambda: _pid(server) != old)
    assert client.read_close().close_code == 1012
    client.sendall(frames.encode_close(1012))
    client.ended()
    eventually(lambda: not psutil.pid_exists(old))
    with server.open("/echo") as client:
        client.send("in the new worker")
        assert client.receive() == "in the new worker"
    text = server.text()
    assert "Fatal Python error" not in text
    assert "Traceback" not in text


def _pid(server: Server) -> int | None:
    try:
        return int(server.info()["pid"])
    except (OSError, EOFError):
        # A worker that ends takes with it what waits in its queue.
        return None


def test_a_killed_worker_is_replaced(pool: Pool):
    server = pool.fresh("gunicorn-sync-preload")
    client = server.open("/echo")
    old = server.worker()
    old.kill()
    assert client.rest() == b""
    eventually(lambda: _pid(server) not in (None, old.pid))
    with server.open("/echo") as client:
        client.send("in the new worker")
        assert client.receive() == "in the new worker"


def _sockets(pid: int) -> list[str]:
    """Return the sockets that a process has open."""
    links = [
        os.readlink(entry)
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if entry.is_symlink()
    ]
    return [link for link in links if link.startswith("socket:")]


@pytest.mark.parametrize("close_fds", [True, False], ids=["close-fds", "inherit"])
@pytest.mark.parametrize(
    "spec", ["gunicorn-sync", "gunicorn-gevent", "runserver", "uwsgi-http-socket"]
)
def test_a_process_that_a_view_starts_does_not_hold_the_socket(
    pool: Pool, report: Channel, spec: str, close_fds: bool
):
    server = pool.fresh(spec)
    client = server.open(f"/spawn?key={report.key}&close_fds={int(close_fds)}")
    child = report.expect("child")
    if spec != "uwsgi-http-socket" or close_fds:
        # uWSGI's own listening socket is inheritable.
        assert _sockets(child) == []
    client.send("go on")
    # The FIN comes, though the child lives.
    assert client.answer_close().close_code == 1000
    assert psutil.pid_exists(child)
    report.expect("waiting")
    server.get(f"/release?key={report.key}")
    report.expect("end")


@pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gthread"])
def test_a_view_may_use_multiprocessing(pool: Pool, spec: str):
    server = pool.fresh(spec)
    client = server.open("/multiprocessing")
    for number in range(5):
        client.send(str(number))
        assert client.receive() == f"the child says {number}"
    client.close()
    assert server.stop() == 0
    assert "Fatal" not in server.text()

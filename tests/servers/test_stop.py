"""A server that is told to stop says goodbye to its WebSockets, and goes."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from pathlib import Path

import pytest

from tests.docs import pages

from . import frames
from .behaviours import Site
from .client import WsClient, eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .site.kinds import KINDS
from .specs import SPECS

#: What gunicorn gives its workers, less than which a stop must take.
GRACE = 30


def _closed_politely(client: WsClient) -> None:
    frame = client.read_close()
    assert frame.close_code == 1012
    client.sendall(frames.encode_close(frame.close_code))
    client.ended()


def open_all_kinds(server: Server, report: Channel) -> list[WsClient]:
    """Open a view of each kind; wait until they run."""
    clients = [Site(server, report, kind).talk() for kind in KINDS]
    for _ in KINDS:
        report.expect("open")
    return clients


def all_kinds_end(report: Channel) -> None:
    """Wait for the ends of the views."""
    for _ in KINDS:
        report.expect("end")


def _signal_uwsgi_worker(log: str) -> None:
    found = re.search(r"\[pid: (\d+)\|app: ", log)
    assert found is not None
    os.kill(int(found[1]), signal.SIGHUP)


@pytest.mark.parametrize("spec", SPECS)
def test_peers_get_a_close_frame_and_the_process_ends(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec)
    clients = open_all_kinds(server, report)
    clients.append(server.open("/echo"))
    if spec.startswith(("uwsgi", "runserver")):
        # In the middle of a request, uWSGI ends a worker without a word, and wsgiref
        # takes Ctrl-C for an error of the view's.
        eventually(lambda: "GET /echo" in server.text())
    start = time.monotonic()
    if server.spec.relayed:
        # Stopped as a whole, uWSGI kills its router first, which has the last words.
        _signal_uwsgi_worker(server.text())
    else:
        server.signal()
    for client in clients:
        _closed_politely(client)
    if server.spec.relayed:
        # A second signal ends the worker at once, its views, too.
        all_kinds_end(report)
        server.signal()
    status = server.wait()
    assert time.monotonic() - start < GRACE / 2
    # Views that were waiting have come to their own end.
    if not server.spec.relayed:
        all_kinds_end(report)
    assert status in server.spec.statuses
    assert server.errors() == []


@pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gthread"])
def test_a_view_that_ignores_the_end_holds_nobody_up_for_long(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec, settings={"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 1}})
    client = server.open(f"/stubborn?key={report.key}")
    report.expect("open")
    start = time.monotonic()
    server.signal()
    _closed_politely(client)
    assert server.wait() == 0
    assert time.monotonic() - start < 10
    assert "WebSocket views were still running after 1 seconds" in server.text()


@pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gevent"])
def test_a_peer_that_answers_nothing_holds_nobody_up_for_long(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec, settings={"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 1}})
    client = server.open(f"/hold?key={report.key}")
    report.expect("open")
    start = time.monotonic()
    server.signal()
    assert server.wait() == 0
    assert time.monotonic() - start < 10
    assert client.read_close().close_code == 1012


@pytest.mark.parametrize(
    "spec", ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent-preload"]
)
def test_reloading_gunicorn_moves_peers_to_a_new_worker(pool: Pool, spec: str):
    server = pool.fresh(spec)
    client = server.open("/echo")
    old = server.worker().pid
    server.signal(signal.SIGHUP)
    _closed_politely(client)
    eventually(lambda: server.worker().pid != old)

    def is_back() -> bool:
        # The old worker may still take a connection, which it closes with 1012.
        with server.open("/echo") as client:
            client.send("back again")
            return client.read_frame().payload == b"back again"

    eventually(is_back)
    assert server.stop() == 0
    assert server.errors() == []


@pytest.mark.parametrize("spec", ["runserver", "cheroot", "waitress", "werkzeug"])
def test_a_handler_makes_sigterm_a_stop(pool: Pool, tmp_path: Path, spec: str):
    """These servers have none of their own; docs/servers.md shows it."""
    page = pages.ROOT / "docs" / "servers.md"
    [recipe] = [b.code for b in pages.blocks(page, "python") if "SIGTERM" in b.code]
    (tmp_path / "handled.py").write_text(recipe)
    env = {"SITE_IMPORT": "handled", "PYTHONPATH": str(tmp_path)}
    server = pool.fresh(spec, env=env)
    client = server.open("/echo")
    server.signal(signal.SIGTERM)
    _closed_politely(client)
    server.wait()


def test_a_change_of_code_reloads_runserver_with_1012(pool: Pool, tmp_path: Path):
    module = tmp_path / "changing_module.py"
    module.write_text("")
    server = pool.fresh(
        "runserver-autoreload",
        env={"SITE_IMPORT": module.stem, "PYTHONPATH": str(tmp_path)},
    )
    client = server.open("/echo")
    old = server.worker().pid
    # The reloader says nowhere when it has begun to watch.
    for attempt in range(20):
        module.write_text(f"CHANGED = {attempt}")
        if select.select([client.sock], [], [], 2)[0]:
            break
    _closed_politely(client)

    def reloaded() -> bool:
        try:
            return server.worker().pid != old
        except (OSError, EOFError):
            return False

    eventually(reloaded)
    with server.open("/echo") as client:
        client.send("back again")
        assert client.receive() == "back again"
    assert server.errors() == []

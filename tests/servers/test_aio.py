"""Asynchronous views, on every server."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from .client import eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .specs import CONTRACT, SPECS

everywhere = pytest.mark.parametrize("server", SPECS, indirect=True)
servers = pytest.mark.parametrize("server", CONTRACT, indirect=True)


@everywhere
def test_a_view_echoes(server: Server):
    clients = [server.open("/aio/echo") for _ in range(3)]
    for round in range(20):
        for number, client in enumerate(clients):
            client.send(f"{number} {round}")
        for number, client in enumerate(clients):
            assert client.receive() == f"{number} {round}"
    for client in clients:
        client.close()


@servers
def test_it_answers_plain_http(server: Server):
    response = server.get("/aio/echo")
    assert (response.status, response.body) == (200, b"please connect with a WebSocket")


@servers
def test_it_runs_in_a_real_thread_of_its_own(server: Server):
    """Under gevent, a greenlet would stop the hub."""
    client = server.open("/aio/threads")
    name, loop, elsewhere = json.loads(client.receive())
    assert name.startswith("websocket-")
    assert loop in [thread.id for thread in server.worker().threads()]
    assert elsewhere is True
    client.close()


@servers
def test_it_queries_in_threads(server: Server):
    clients = [server.open("/aio/query") for _ in range(4)]
    for _ in range(3):
        for client in clients:
            client.send("again")
        assert [client.receive() for client in clients] == ["42"] * 4
    for client in clients:
        client.close()


@servers
def test_it_is_cancelled_when_its_peer_goes(server: Server, report: Channel):
    client = server.open(f"/aio/cancelled?key={report.key}")
    report.expect("open")
    client.drop()
    report.expect("cancelled")


@pytest.mark.parametrize("spec", CONTRACT)
def test_an_exception_is_logged_and_closes_with_1011(pool: Pool, spec: str):
    server = pool.get(spec)
    client = server.open("/aio/raises")
    assert client.receive() == "before"
    assert client.answer_close().close_code == 1011
    eventually(lambda: "the view's own mistake" in server.text())
    assert server.text().count("Traceback (most recent call last)") == 1
    server.begin()


@pytest.mark.parametrize("spec", CONTRACT)
def test_the_stop_of_the_server_cancels_it(pool: Pool, report: Channel, spec: str):
    server = pool.fresh(
        spec, settings={"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0.5, "SHUTDOWN_SPREAD": 0}}
    )
    client = server.open(f"/aio/stubborn?key={report.key}")
    report.expect("open")
    server.signal()
    assert client.read_close().close_code == 1012
    server.wait()
    assert "still running" in server.text(0)
    assert "Traceback" not in server.text(0)


@servers
def test_synchronous_and_asynchronous_views_work_side_by_side(server: Server):
    clients = [server.open(path) for path in ("/echo", "/aio/echo") * 3]
    errors: list[Any] = []

    def talk(client: Any) -> None:
        try:
            for number in range(50):
                client.send(str(number))
                assert client.receive() == str(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=talk, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    for client in clients:
        client.close()


@pytest.mark.parametrize("spec", ["gunicorn-gthread", "gunicorn-gevent"])
def test_it_works_without_uvloop(pool: Pool, tmp_path: Path, spec: str):
    (tmp_path / "uvloop.py").write_text("raise ImportError('not installed')\n")
    server = pool.fresh(spec, env={"PYTHONPATH": str(tmp_path)})
    client = server.open("/aio/threads")
    assert json.loads(client.receive())[2] is True
    client.close()
    client = server.open("/aio/query")
    for _ in range(3):
        client.send("again")
        assert client.receive() == "42"
    client.close()
    assert server.stop() == 0
    assert not server.errors()


@servers
def test_the_monitor_knows_the_kinds_of_views(server: Server):
    clients = [server.open("/echo"), server.open("/aio/echo")]
    # Both paths have this text.
    places = json.loads(server.get("/kinds/places?path=/echo").body)
    thread = "greenlet" if server.spec.gevent else "thread"
    assert ["/echo", thread, "socket"] in places["rows"]
    assert ["/aio/echo", "task", "socket"] in places["rows"]
    for client in clients:
        client.close()


BUSY = ["gunicorn-gthread", "gunicorn-gevent", "uvicorn", "uvicorn-queue"]


@pytest.mark.parametrize("loaded", [False, True], ids=["quiet", "loaded"])
@pytest.mark.parametrize("server", BUSY, indirect=True)
def test_5000_cancelled_receives_lose_and_double_nothing(server: Server, loaded: bool):
    count = 2_000
    with contextlib.ExitStack() as stack:
        # Other connections keep the loop and the interpreter busy.
        others = [server.open("/aio/echo") for _ in range(20 if loaded else 0)]
        over = threading.Event()
        errors: list[BaseException] = []

        def disturb(client: Any) -> None:
            try:
                while not over.is_set():
                    client.send("x" * 1_000)
                    client.receive()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=disturb, args=(one,)) for one in others]
        for thread in threads:
            thread.start()
        stack.callback(lambda: [thread.join(30) for thread in threads])
        stack.callback(over.set)
        client = server.open(f"/aio/cancels?count={count}")
        assert client.receive() == "ready"
        for number in range(count):
            client.send(str(number))
        cancelled, got = json.loads(client.receive())
    assert not errors
    assert cancelled >= 5_000
    assert got == [str(number) for number in range(count)]
    client.close()
    for other in others:
        other.close()


HOWS = ("raise", "cancel", "return")


@pytest.mark.parametrize(
    "spec",
    ["gunicorn-gthread", "gunicorn-gevent", "waitress", "uvicorn", "uvicorn-queue"],
)
def test_a_hundred_views_leave_nothing_behind(pool: Pool, report: Channel, spec: str):
    """They raise, are cancelled, or outlive the stop."""
    server = pool.fresh(
        spec, settings={"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0.5, "SHUTDOWN_SPREAD": 0}}
    )
    worker = server.worker()

    def begin(how: str) -> Any:
        client = server.open(f"/aio/left?how={how}&key={report.key}")
        assert client.receive() == "begun"
        return client

    def some(number: int) -> None:
        clients = [(how, begin(how)) for how in HOWS for _ in range(number)]
        for how, client in clients:
            if how == "cancel":
                client.drop()
            else:
                client.read_close()
                client.drop()
        for _ in clients:
            assert report.next()[0].startswith("ended")

    def rested() -> bool:
        remains = json.loads(server.get("/aio/remains").body)
        return remains == {"views": 0, "tasks": []}

    some(1)
    eventually(rested, what="the first views have gone")
    quiet = (worker.num_fds(), worker.num_threads())
    some(23)
    eventually(rested, what="no view and no task is left")
    eventually(
        lambda: worker.num_fds() <= quiet[0] and worker.num_threads() <= quiet[1] + 2,
        what=f"{worker.num_fds()}, {worker.num_threads()} after {quiet}",
    )
    for _ in range(31):
        begin("outlive")
    family = [worker, *worker.children(recursive=True)]
    server.signal()
    status = server.wait()
    assert status in server.spec.statuses
    for _ in range(31):
        # The process gives every view the time to clean up.
        report.expect("ended outlive")
    assert not [one for one in family if one.is_running()]
    server.begin()

"""Classes with handlers, on every server."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from .client import eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .specs import ASGI_SPECS, CONTRACT, SPECS

everywhere = pytest.mark.parametrize("server", [*SPECS, *ASGI_SPECS], indirect=True)
servers = pytest.mark.parametrize("server", [*CONTRACT, "uvicorn"], indirect=True)
kinds = pytest.mark.parametrize("kind", ["whole", "async-whole"])


@everywhere
@pytest.mark.parametrize("path", ["/classes/echo", "/classes/async-echo"])
def test_a_class_echoes(server: Server, path: str):
    clients = [server.open(path) for _ in range(3)]
    for round in range(20):
        for number, client in enumerate(clients):
            client.send(f"{number} {round}")
        for number, client in enumerate(clients):
            assert client.receive() == f"{number} {round}"
    for client in clients:
        client.close()


@servers
def test_it_answers_plain_http(server: Server):
    response = server.get("/classes/echo")
    assert (response.status, response.body) == (200, b"please connect with a WebSocket")


@servers
@kinds
def test_the_handlers_are_called_in_order(server: Server, report: Channel, kind: str):
    client = server.open(f"/classes/{kind}/seven?key={report.key}")
    assert report.expect("open") == ["seven", "en"]
    for number in range(20):
        client.send(str(number))
    assert [client.receive() for _ in range(20)] == [str(n) for n in range(20)]
    client.close(4001)
    events = [report.next() for _ in range(21)]
    assert events[:20] == [("message", str(number)) for number in range(20)]
    assert events[20] == ("close", 4001)
    assert report.none()


@servers
def test_a_handler_queries_the_database(server: Server):
    clients = [server.open("/classes/query") for _ in range(4)]
    for _ in range(5):
        for client in clients:
            client.send("again")
        assert [client.receive() for client in clients] == ["42"] * 4
    for client in clients:
        client.close()


@servers
def test_slow_handlers_run_beside_others(server: Server):
    slow = [server.open("/classes/slow") for _ in range(10)]
    quick = server.open("/classes/echo")
    for client in slow:
        client.send("0.5")
    for number in range(50):
        quick.send(str(number))
        assert quick.receive() == str(number)
    assert [json.loads(client.receive())[0] for client in slow] == ["0.5"] * 10
    for client in (*slow, quick):
        client.close()


@servers
def test_many_connections_talk_at_once(server: Server):
    clients = [
        server.open(path) for path in ("/classes/echo", "/classes/async-echo") * 4
    ]
    errors: list[Any] = []

    def talk(client: Any) -> None:
        try:
            for number in range(100):
                client.send(str(number))
                assert client.receive() == str(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=talk, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    for client in clients:
        client.close()


@servers
def test_typed_messages_get_their_replies(server: Server):
    client = server.open("/classes/typed")
    client.send(json.dumps({"type": "add", "id": 1, "a": 1, "b": 2}))
    assert json.loads(client.receive()) == {"type": "reply", "id": 1, "data": 3}
    client.send(json.dumps({"type": "add", "id": 2, "a": "x", "b": 2}))
    assert json.loads(client.receive())["code"] == "invalid"
    client.close()


@pytest.mark.parametrize("spec", [*CONTRACT, "uvicorn"])
@kinds
def test_an_exception_is_logged_and_closes_with_1011(
    pool: Pool, report: Channel, spec: str, kind: str
):
    server = pool.get(spec)
    client = server.open(f"/classes/{kind}/x?key={report.key}")
    client.send("fail")
    assert client.answer_close().close_code == 1011
    assert report.expect("close") == 1011
    eventually(lambda: "the handler's own mistake" in server.text())
    assert server.text().count("Traceback (most recent call last)") == 1
    server.begin()


@pytest.mark.parametrize("spec", [*CONTRACT, "uvicorn"])
@kinds
def test_the_stop_of_the_server_ends_idle_connections(
    pool: Pool, report: Channel, spec: str, kind: str
):
    server = pool.fresh(spec, settings={"DWEBSOCKET": {"SHUTDOWN_SPREAD": 0}})
    client = server.open(f"/classes/{kind}/x?key={report.key}")
    report.expect("open")
    server.signal()
    assert client.answer_close().close_code == 1012
    assert report.expect("close") == 1012
    server.wait()
    assert "still running" not in server.text(0)
    assert "Traceback" not in server.text(0)


@pytest.mark.parametrize("spec", CONTRACT)
@kinds
def test_a_handler_that_outlives_the_stop_is_named(
    pool: Pool, report: Channel, spec: str, kind: str
):
    server = pool.fresh(
        spec, settings={"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0.5, "SHUTDOWN_SPREAD": 0}}
    )
    client = server.open(f"/classes/{kind}/x?key={report.key}")
    client.send("sleep")
    assert report.expect("message") == "sleep"
    server.signal()
    assert client.read_close().close_code == 1012
    server.wait()
    assert "still running" in server.text(0)
    assert f"/classes/{kind}/x" in server.text(0)

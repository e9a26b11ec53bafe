"""os.fork in a process whose engine is running."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from tests.servers import frames
from tests.servers.client import WsClient

Start = Callable[[], Any]


def _echoes(client: WsClient, text: str) -> None:
    client.send(text)
    assert client.receive() == text


def test_a_child_has_an_engine_of_its_own(program: Start):
    parent = program()
    first = parent.open(parent.port)
    _echoes(first, "before the fork")
    _, port = parent.fork()
    second = parent.open(port)
    _echoes(second, "in the child")
    _echoes(first, "still in the parent")
    third = parent.open(parent.port)
    _echoes(third, "new in the parent")
    for client in (first, second, third):
        client.close()


def test_a_grandchild_has_one_too(program: Start):
    parent = program()
    _echoes(parent.open(parent.port), "parent")
    child, port = parent.fork()
    _echoes(parent.open(port), "child")
    _, port = parent.fork(child)
    client = parent.open(port)
    _echoes(client, "grandchild")
    client.close()


def test_a_child_that_ends_takes_its_own_connections_only(program: Start):
    parent = program()
    ours = parent.open(parent.port)
    _echoes(ours, "before")
    child, port = parent.fork()
    theirs = parent.open(port)
    _echoes(theirs, "hello")
    assert parent.end(child) == 0
    assert theirs.read_close().close_code == 1012
    _echoes(ours, "untouched")
    ours.close()


def test_a_child_without_connections_ends_in_peace(program: Start):
    parent = program()
    clients = [parent.open(parent.port) for _ in range(10)]
    for _ in range(5):
        child, _ = parent.fork()
        assert parent.end(child) == 0
    for client in clients:
        _echoes(client, "untouched")
        client.close()


def test_a_parent_that_ends_takes_its_own_connections_only(program: Start):
    parent = program()
    ours = parent.open(parent.port)
    _, port = parent.fork()
    theirs = parent.open(port)
    os.kill(parent.pid, signal.SIGTERM)
    assert ours.read_close().close_code == 1012
    ours.sendall(frames.encode_close(1012))
    assert parent.process.wait(20) == 0
    _echoes(theirs, "untouched")
    theirs.close()


def test_a_connection_that_ends_in_the_parent_ends_though_a_child_lives(program: Start):
    parent = program()
    polite = parent.open(parent.port)
    told = parent.open(parent.port, "/returns?what=none")
    assert told.receive() == "before"
    _, port = parent.fork()
    late = parent.open(port)
    # The FIN comes: the child holds no copy of the socket that would delay it.
    assert polite.close().close_code == 1000
    assert told.answer_close().close_code == 1000
    _echoes(late, "untouched")


def test_forks_amid_traffic(program: Start):
    parent = program()
    clients = [parent.open(parent.port) for _ in range(5)]
    for number in range(10):
        for client in clients:
            client.send(f"round {number} " * 1000)
        child, _ = parent.fork()
        for client in clients:
            assert client.receive() == f"round {number} " * 1000
        assert parent.end(child) == 0
    status, complaints = parent.stop()
    assert status == 0
    assert "Fatal" not in complaints
    assert "Traceback" not in complaints

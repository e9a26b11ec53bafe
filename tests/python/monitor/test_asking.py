"""Questions to the processes of this machine, over sockets."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from dwebsocket import _engine, monitor
from dwebsocket.monitor import asking

from .answers import place, process


@pytest.fixture
def neighbour(tmp_path):
    """Return a function that starts a neighbour with an answer."""
    listeners = []

    def start(name: str, reply: bytes | None):
        path = str(tmp_path / f"{name}.socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                while line.recv(4096):
                    pass
                line.sendall(reply or b"")

        if reply is not None:
            threading.Thread(target=serve, daemon=True).start()
        return process(name) | {"socket": path}

    yield start
    for listener in listeners:
        listener.close()


def test_every_process_answers_once(neighbour, monkeypatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.3)
    own = json.loads(_engine.monitor_answer("{}"))["process"]
    here = place(
        "www1",
        [
            neighbour("b", b'{"process": "b"}'),
            neighbour("a", b'{"process": "a"}'),
            neighbour("nonsense", b"not JSON"),
            neighbour("stopped", None),
            process("gone"),
            process(own),
        ],
    )
    answers = asking.ask({"kind": "figures"}, "machine", [here])
    assert [one["process"] for one in answers] == sorted(["a", "b", own])
    assert {one["pid"] for one in answers if "pid" in one} == {os.getpid()}


@pytest.mark.parametrize(
    "question",
    [
        "",
        "no JSON",
        "[]",
        "7",
        "{}",
        '{"kind": 7}',
        '{"kind": "?"}',
        '{"kind": "close"}',
    ],
)
def test_what_is_no_question_gets_an_empty_answer(question: str) -> None:
    answer = json.loads(_engine.monitor_answer(question))
    assert set(answer) == {"process", "pid", "host"}


def test_nobody_closes_a_connection_of_another_process(monkeypatch) -> None:
    monkeypatch.setattr(asking, "here", lambda: asking.Here([]))
    assert monitor.close("another", [1]) == 0

"""The management command, up to the engine; tests/servers has the rest."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from dwebsocket import _engine
from dwebsocket.hub import connecting
from dwebsocket.management.commands.wspublish import Command


class Calls(list):
    """What the engine was asked to do; it says of the broker what ``fate`` says."""

    fate = "sent"
    flushed = False

    def note(self, *args, **kwargs):
        self.append((*args, kwargs))
        return SimpleNamespace(broker=self.fate)


@pytest.fixture
def calls(monkeypatch):
    found = Calls()
    monkeypatch.setattr(connecting, "connect", lambda: None)
    monkeypatch.setattr(_engine, "publish", found.note)
    monkeypatch.setattr(_engine, "disconnect", found.note)
    monkeypatch.setattr(_engine, "hub_flush", lambda timeout: found.flushed)
    with override_settings(DWEBSOCKET={"BROKER": "redis://127.0.0.1:1/0"}):
        yield found


def _run(*words: str) -> str:
    output = io.StringIO()
    call_command(Command(), *words, stdout=output)
    return output.getvalue()


def _sent(call):
    kind, targets, data, options = call
    return kind, targets, data, options["binary"], options["json"]


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["--group", "a", "hi"], ("group", ["a"], "hi", False, False)),
        (["--group=a", "--group=b", "hi"], ("group", ["a", "b"], "hi", False, False)),
        (["--user", "7", "hi"], ("user", ["7"], "hi", False, False)),
        (["--user", "0", "hi"], ("user", ["0"], "hi", False, False)),
        (["--all", "hi"], ("all", [], "hi", False, False)),
        (["--all", ""], ("all", [], "", False, False)),
        (["--all", "--json", '{"a":[1]}'], ("all", [], '{"a": [1]}', False, True)),
        (["--all", "--json", '"text"'], ("all", [], '"text"', False, True)),
    ],
)
def test_who_gets_what(calls, words, sent):
    assert _run(*words) == "handed to the broker (sent)\n"
    assert [_sent(call) for call in calls] == [sent]


def test_a_message_from_standard_input_or_a_file(calls, monkeypatch, tmp_path):
    stdin = io.TextIOWrapper(io.BytesIO("gr\u00fc\u00df".encode()), "utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    _run("--all", "-")
    stdin = io.TextIOWrapper(io.BytesIO(b"\x00\xff"), "utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    _run("--all", "--binary", "-")
    (tmp_path / "file").write_bytes(b"\x00\xfe")
    _run("--all", "--binary", str(tmp_path / "file"))
    assert [_sent(call)[2:] for call in calls] == [
        ("gr\u00fc\u00df", False, False),
        (b"\x00\xff", True, False),
        (b"\x00\xfe", True, False),
    ]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--user", "7", "--disconnect", "4001"], ("user", ["7"], 4001, "", {})),
        (["--all", "--disconnect=1001", "bye"], ("all", [], 1001, "bye", {})),
        (["--group=a", "--disconnect=4000"], ("group", ["a"], 4000, "", {})),
    ],
)
def test_disconnecting(calls, words, asked):
    _run(*words)
    assert calls == [asked]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--user", "", "hi"], "must not be empty"),
        (["--user", "", "--disconnect", "4001"], "must not be empty"),
        (["--group", "", "hi"], "must not be empty"),
        (["hi"], "one of the arguments"),
        (["--all", "--user", "7", "hi"], "not allowed with"),
        (["--all"], "a message is needed"),
        (["--all", "--json", "{"], "not JSON"),
        (["--all", "--json", "NaN"], "JSON"),
        (["--all", "--json", "[" * 100_000 + "]" * 100_000], "nested too deeply"),
        (["--all", "--binary", "/no/such/file"], "No such file"),
        (["--all", "--binary", "/no/such/file", "hi"], "not both"),
        (["--all", "--disconnect", "4001", "x" * 124], "123 bytes"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_sent(calls, words, message):
    with pytest.raises(CommandError, match=message):
        _run(*words)
    assert calls == []


@pytest.mark.parametrize(("fate", "flushed"), [("unavailable", True), ("pending", 0)])
def test_a_broker_that_is_away_is_an_error(calls, fate, flushed):
    calls.fate, calls.flushed = fate, flushed
    with pytest.raises(CommandError, match="cannot be reached") as caught:
        _run("--all", "hi")
    assert caught.value.returncode == 1


def test_a_message_that_waits_is_waited_for(calls):
    calls.fate, calls.flushed = "pending", True
    assert "after waiting" in _run("--group", "a", "hi")


def test_without_a_broker_it_says_what_to_set():
    with pytest.raises(CommandError, match="BROKER"):
        _run("--all", "hi")


def test_a_broker_that_cannot_be_used_is_said(monkeypatch):
    monkeypatch.setattr(connecting, "_connected_in", None)
    with (
        override_settings(DWEBSOCKET={"BROKER": "gopher://localhost"}),
        pytest.raises(CommandError, match="DWEBSOCKET.*gopher"),
    ):
        _run("--all", "hi")

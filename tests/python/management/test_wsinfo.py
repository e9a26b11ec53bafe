"""The command that shows the site; tests/servers has it with real servers."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from dwebsocket import monitor
from dwebsocket.management.commands import wsinfo


def _connection(number: int, **changed: Any) -> monitor.Connection:
    values: dict[str, Any] = dict.fromkeys(monitor.Connection.__dataclass_fields__, 0)
    values |= {"process": "a" * 16, "id": number, "path": "/chat/", "address": ""}
    values |= {"view": "thread", "transport": "socket"}
    values |= {"user": None, "round_trip": None, "some_groups": ()}
    return monitor.Connection(**(values | changed))


@pytest.fixture
def world(monkeypatch):
    """Answer for a site with one process."""
    views = {"thread": {"socket": 1}, "task": {"queue": 1234}}
    process = monitor.Process(
        "a" * 16, "www1", 7, 0, False, 2, answered=True, views=views
    )
    counters = monitor.Counters(opened=5, closed={"1000": 3}, sent_messages=1234)
    machine = monitor.Machine("www1", counters, (process,), {"www1:1:2": counters})
    found: dict[str, Any] = {
        "site": monitor.Site((machine,)),
        "connections": monitor.Connections(
            [
                _connection(1, view="task", transport="queue"),
                _connection(2, path="/\x1b[2J", round_trip=0.25),
                _connection(3, view="", transport=""),
            ],
            "a:3",
        ),
        "groups": monitor.Groups([monitor.Group("room", 2, 1)], ""),
    }
    for name in ("site", "connections", "groups"):
        monkeypatch.setattr(
            monitor, name, lambda *args, name=name, **options: found[name]
        )
    return found


def _run(*words: str) -> str:
    output = io.StringIO()
    call_command("wsinfo", *words, stdout=output)
    return output.getvalue()


def test_it_shows_processes_totals_connections_and_groups(world) -> None:
    text = _run()
    assert "aaaaaaaa  www1" in text
    assert "connections: 2 open, 5 opened, closed 3 (1000), refused 0" in text
    assert "1,234 sent" in text
    assert "views:       1,234 task (queue) + 1 thread open, 0 ended" in text
    assert "aaaaaaaa:2" in text
    assert "250.0ms" in text
    assert re.search(r":1 .* 0 +task \(queue\) +/chat/", text)
    assert re.search(r":2 .* 0 +thread +/\?\[2J", text)
    assert re.search(r":3 .* 0 +- +/chat/", text)
    assert "room" in text
    assert text.count("... and more") == 1


def test_what_peers_have_chosen_cannot_steer_the_terminal(world) -> None:
    assert "\x1b" not in _run()


def test_json_has_all_of_it(world) -> None:
    found = json.loads(_run("--json"))
    assert found["totals"]["opened"] == 5
    assert [one["id"] for one in found["connections"]] == [1, 2, 3]
    assert found["groups"] == [{"name": "room", "members": 2, "processes": 1}]
    assert found["processes"][0]["machine"] == "www1"
    assert len(json.loads(_run("--json", "--rows", "1"))["connections"]) == 1


def test_no_rows_means_no_tables(world) -> None:
    text = _run("--rows", "0")
    assert "CONNECTION " not in text
    assert "connections: 2 open" in text


def test_it_watches_until_it_is_interrupted(world, monkeypatch) -> None:
    rounds = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(wsinfo.time, "sleep", sleep)
    text = _run("--watch")
    assert rounds == [2.0] * 3
    assert text.count("connections: 2 open") == 3
    assert text.count("(0.0/s)") == 6


def test_a_machine_that_misses_a_round_does_not_count_as_fast(
    world, monkeypatch
) -> None:
    def site(**sent: int) -> monitor.Site:
        parts = {
            name: monitor.Counters(sent_messages=count) for name, count in sent.items()
        }
        machines = (
            monitor.Machine(name, part, (), {f"{name}:1:2": part})
            for name, part in parts.items()
        )
        return monitor.Site(tuple(machines))

    sites = iter(
        [
            site(www1=100, www2=5000),
            site(www1=120),
            site(www1=140, www2=5100),
            site(www1=160, www2=5140),
        ]
    )
    monkeypatch.setattr(monitor, "site", lambda scope: next(sites))
    clock = iter(range(0, 8, 2))
    monkeypatch.setattr(wsinfo.time, "monotonic", lambda: next(clock))
    rounds = iter([None, None, None, KeyboardInterrupt])

    def sleep(seconds: float) -> None:
        if (end := next(rounds)) is not None:
            raise end

    monkeypatch.setattr(wsinfo.time, "sleep", sleep)
    text = _run("--watch", "--rows", "0")
    assert re.findall(r"sent \((.*?)/s\)", text) == ["10.0", "10.0", "30.0"]


@pytest.mark.parametrize(
    "words",
    [("--watch", "0"), ("--watch", "x"), ("--rows", "501"), ("--rows", "-1")],
)
def test_arguments_have_their_ranges(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="argument"):
        _run(*words)


def test_nobody_answers(monkeypatch) -> None:
    monkeypatch.setattr(monitor, "site", lambda scope: monitor.Site(()))
    with pytest.raises(CommandError, match="no broker is set"):
        _run()
    with (
        override_settings(DWEBSOCKET={"MONITOR_DIRECTORY": False}),
        pytest.raises(CommandError, match="is False"),
    ):
        _run()


def test_figures_of_another_user_are_explained(monkeypatch) -> None:
    def refuse(scope: str) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(monitor, "site", refuse)
    with pytest.raises(CommandError, match="sudo -u"):
        _run()


def test_wrong_settings_are_an_error_of_the_command() -> None:
    with (
        override_settings(DWEBSOCKET={"MONITOR_DIRECTORY": "relative"}),
        pytest.raises(CommandError, match="absolute path"),
    ):
        _run()

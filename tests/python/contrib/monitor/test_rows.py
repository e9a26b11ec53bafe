"""What a page is told, and what has changed."""

from __future__ import annotations

from typing import Any

import pytest

from dwebsocket import monitor
from dwebsocket.contrib.monitor.board import Snapshot, View
from dwebsocket.contrib.monitor.rates import Rate
from dwebsocket.contrib.monitor.rows import Changes, shown


def _process(name: str, **fields: Any) -> monitor.Process:
    values: dict[str, Any] = {"pid": 7, "started": 0, "stopping": False}
    values |= {"machine": "www1", "connections": 3, "answered": True}
    return monitor.Process(name, **(values | fields))


def _tables(*processes: monitor.Process, rates: Rate | None = None) -> dict[str, Any]:
    view = View()
    machine = monitor.Machine("www1", monitor.Counters(closed={"1000": 0}), processes)
    snapshot = Snapshot(
        0,
        monitor.Site((machine,)),
        rates,
        {},
        {view.connections: monitor.Connections([], "")},
        {view.groups: monitor.Groups([], "")},
    )
    return dict(shown(snapshot, view, {}))


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "ok"),
        ({"answered": False}, "silent"),
        ({"answered": False, "connections": 0}, "ok"),
        ({"answered": False, "stopping": True}, "stopping"),
    ],
)
def test_whether_a_process_answers(fields, state) -> None:
    ((row,), _) = _tables(_process("a", **fields))["processes"]
    assert row["state"] == state


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["none"], "none"),
        (["connected", "connected"], "connected"),
        (["connected", "away"], "away"),
        (["", "connected"], "connected"),
    ],
)
def test_the_broker_is_as_good_as_for_its_worst_process(states, expected) -> None:
    processes = [_process(str(n), broker=state) for n, state in enumerate(states)]
    ((site,), _) = _tables(*processes)["site"]
    assert site["broker"] == expected


def test_pages_are_not_counted_as_connections() -> None:
    tables = _tables(_process("a", watchers=1), _process("b", watchers=2))
    assert [row["connections"] for row in tables["processes"][0]] == [2, 1]
    assert tables["site"][0][0]["connections"] == 3
    assert tables["site"][0][0]["watchers"] == 3


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, 0.0), (1.26, 1.3), (99.94, 99.9), (1234.5, 1234.0)]
)
def test_rates_are_rounded(rate, text) -> None:
    ((site,), _) = _tables(rates=Rate(rate, 0))["site"]
    assert site["received"] == text


def _row(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "value": value}


def test_changes() -> None:
    changes = Changes()
    one, two = _row("a", 1), _row("b", 1)
    assert changes.of({"t": ([one, two], "x")}) == {
        "t": {"rows": [one, two], "order": ["a", "b"], "next": "x"}
    }
    assert changes.of({"t": ([one, two], "x")}) == {}
    assert changes.of({"t": ([one, _row("b", 2)], "x")}) == {
        "t": {"rows": [_row("b", 2)]}
    }
    assert changes.of({"t": ([_row("b", 2)], "")}) == {
        "t": {"order": ["b"], "next": ""}
    }
    assert changes.of({"t": ([], "")}) == {"t": {"order": []}}


def test_another_view_is_told_where_its_next_page_begins() -> None:
    changes = Changes()
    changes.of({"t": ([], "x")})
    changes.turn()
    assert changes.of({"t": ([], "x")}) == {"t": {"next": "x"}}
    assert changes.of({"t": ([], "x")}) == {}


def test_an_empty_table_is_told_once() -> None:
    changes = Changes()
    assert changes.of({"t": ([], "")}) == {"t": {"order": [], "next": ""}}
    assert changes.of({"t": ([], "")}) == {}

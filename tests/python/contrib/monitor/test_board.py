"""One asker for all pages of a process."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from dwebsocket import monitor
from dwebsocket.contrib.monitor import board as module
from dwebsocket.contrib.monitor.board import (
    Board,
    ConnectionsWanted,
    GroupsWanted,
    View,
)
from dwebsocket.monitor.looking import Look
from tests.python.clock import Clock


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "GAP", 0.25)
    return made


@pytest.fixture
def asked(monkeypatch) -> list[tuple[list[Any], list[Any]]]:
    """Answer for a site without connections, and note the questions."""
    found: list[tuple[list[Any], list[Any]]] = []

    def look(connections: list[Any], groups: list[Any]) -> Look:
        found.append((connections, groups))
        return Look(
            monitor.Site(()),
            [monitor.Connections([], "") for _ in connections],
            [monitor.Groups([], "") for _ in groups],
        )

    monkeypatch.setattr(module, "look", look)
    return found


def _view(search: str = "") -> View:
    return View(ConnectionsWanted(search=search), GroupsWanted(search=search))


def test_pages_that_want_the_same_share_one_round(clock, asked) -> None:
    board = Board()
    found = [board.look(page, _view()) for page in range(100)]
    assert len(asked) == 1
    assert len({id(snapshot) for snapshot, _ in found}) == 1
    assert {wait for _, wait in found} == {2.0}
    clock.now += 2.0
    for page in range(100):
        board.look(page, _view())
    assert len(asked) == 2


def test_one_round_asks_for_what_all_pages_want(clock, asked) -> None:
    board = Board()
    for page in range(5):
        board.look(page, _view(str(page)))
        clock.now += 0.3
    clock.now += 2.0
    asked.clear()
    snapshot, _ = board.look(0, _view("0"))
    ((connections, groups),) = asked
    assert sorted(one["search"] for one in connections) == list("01234")
    assert sorted(one["search"] for one in groups) == list("01234")
    assert all(one["without_watchers"] for one in connections)
    for page in range(5):
        assert board.look(page, _view(str(page)))[0] is snapshot


def test_many_views_take_several_rounds(clock, asked) -> None:
    board = Board()
    board._views = {page: _view(str(page)) for page in range(50)}
    snapshot, _ = board.look(0, _view("0"))
    assert [len(connections) for connections, _ in asked] == [16, 16, 16, 2]
    assert snapshot is not None
    assert len(snapshot.connections) == len(snapshot.groups) == 50


def test_a_new_wish_waits_for_a_moment(clock, asked) -> None:
    board = Board()
    board.look(1, _view())
    snapshot, wait = board.look(1, _view("x"))
    assert snapshot is None
    assert wait == 0.25
    clock.now += 0.25
    snapshot, wait = board.look(1, _view("x"))
    assert snapshot is not None
    assert snapshot.has(_view("x"))
    assert len(asked) == 2


def test_a_slow_site_is_asked_less_often(clock, asked, monkeypatch) -> None:
    quick = module.look

    def slow(*questions: Any) -> Look:
        clock.now += 1.0
        return quick(*questions)

    monkeypatch.setattr(module, "look", slow)
    board = Board()
    _, wait = board.look(1, _view())
    assert wait == 3.0
    clock.now += 2.9
    board.look(1, _view())
    assert len(asked) == 1


def test_what_misses_a_round_counts_only_from_its_return(clock, monkeypatch) -> None:
    """Its counts of years are no rate: neither when it goes nor when it comes back."""
    parts: dict[str, int] = {}

    def look(connections: list[Any], groups: list[Any]) -> Look:
        kept = {
            name: monitor.Counters(received_messages=count)
            for name, count in parts.items()
        }
        machine = monitor.Machine(
            "www1", sum(kept.values(), monitor.Counters()), (), kept
        )
        return Look(
            monitor.Site((machine,)),
            [monitor.Connections([], "") for _ in connections],
            [monitor.Groups([], "") for _ in groups],
        )

    monkeypatch.setattr(module, "look", look)
    board = Board()
    rates = []
    for reading in (
        {"a": 5_000_000, "b": 5_000_000},
        {"a": 5_000_010, "b": 5_000_020},
        {"a": 5_000_020},
        {"a": 5_000_030, "b": 5_000_060},
        {"a": 5_000_040, "b": 5_000_080},
    ):
        parts.clear()
        parts.update(reading)
        snapshot, _ = board.look(1, _view())
        assert snapshot is not None
        rates.append(snapshot.rates and snapshot.rates.received)
        clock.now += 2.0
    assert rates == [None, 15.0, 5.0, 5.0, 15.0]


def test_pages_that_are_hidden_or_gone_are_not_asked_for(clock, asked) -> None:
    board = Board()
    with board.opened(1):
        board.look(1, _view("1"))
        clock.now += 3
        board.look(2, _view("2"))
        board.hide(2)
        clock.now += 3
        asked.clear()
        board.look(1, _view("1"))
        assert [one["search"] for one in asked[0][0]] == ["1"]
    assert not board._views
    assert board._latest is None


def test_threads_at_the_same_time_ask_once(asked) -> None:
    board = Board()
    start = threading.Barrier(8)

    def run(page: int) -> None:
        start.wait(10)
        board.look(page, _view())

    threads = [threading.Thread(target=run, args=(page,)) for page in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(asked) == 1

"""The figures of several machines, put together; tests/servers has real processes."""

from __future__ import annotations

import pytest

from dwebsocket import monitor
from dwebsocket.monitor import asking
from dwebsocket.monitor.asking import Here

from .answers import answer, counters, own, place, process


@pytest.fixture
def world(monkeypatch):
    """Set what the directories and the processes say."""

    def say(here, answers, problem=None):
        monkeypatch.setattr(asking, "here", lambda: Here(here, problem))
        monkeypatch.setattr(asking, "ask", lambda *args: answers)
        return monitor.site()

    return say


def test_the_processes_of_one_machine_make_one_answer(world) -> None:
    here = place("www1", [process("a", 3), process("b", 4)], opened=9)
    site = world([here], [answer("a", outbox_messages=2), answer("b", broker="away")])
    (machine,) = site.machines
    assert machine.name == "www1"
    assert machine.total("connections") == 7
    assert machine.total("outbox_messages") == 2
    assert site.counters.opened == 9
    assert machine.broker_up() is False


def test_a_process_without_an_answer_is_silent(world) -> None:
    site = world([place("www1", [process("a", 3), process("b", 1)])], [answer("a")])
    assert [one.answered for one in site.processes] == [True, False]
    assert [one.connections for one in site.processes] == [3, 1]


def test_each_machine_counts_once_though_all_its_processes_answer(world) -> None:
    here = place("www1", [process("a", 1)], opened=1)
    there = place("www2", [process("b", 2), process("c", 3)], opened=5, sent_messages=8)
    later = place("www2", [process("b", 2), process("c", 4)], opened=6, sent_messages=9)
    answers = [
        answer("a", machine=here),
        answer("b", machine=there),
        answer("c", machine=later),
    ]
    site = world([here], answers)
    assert [one.name for one in site.machines] == ["www1", "www2"]
    assert site.machines[1].counters.opened == 6
    assert site.machines[1].total("connections") == 6
    assert site.counters.sent_messages == 9


def test_two_directories_of_one_machine_are_added(world) -> None:
    one = place("www1", [process("a", 1)], opened=1, closed={"1000": 1, "1001": 5})
    two = place("www1", [process("b", 2)], opened=2, closed={"1000": 2})
    two["place"] = "www1:1:3"
    (machine,) = world([one, two], []).machines
    assert machine.counters.opened == 3
    assert machine.counters.closed == {"1000": 3, "1001": 5}
    assert machine.counters.round_trips.counts == (2, 4)
    assert machine.counters.round_trips.seconds == 6
    assert len(machine.processes) == 2
    assert {key: part.opened for key, part in machine.parts.items()} == {
        "www1:1:2": 1,
        "www1:1:3": 2,
    }


def test_a_process_without_a_directory_keeps_its_own_counters(world) -> None:
    answers = [
        answer("x", counters=counters(opened=2)),
        answer("y", counters=counters(opened=5)),
    ]
    (machine,) = (site := world([], answers)).machines
    assert machine.counters.opened == 7
    assert {key: part.opened for key, part in site.parts.items()} == {"x": 2, "y": 5}


def test_a_process_without_a_directory_counts_if_it_serves(world) -> None:
    serves = answer("x", host="www9", connections=2, counters=counters(opened=2))
    site = world([], [serves, answer("celery", pid=8)])
    (machine,) = site.machines
    assert (machine.name, machine.total("connections")) == ("www9", 2)


def test_figures_that_cannot_be_read_are_an_error_if_nobody_else_answers(world) -> None:
    problem = OSError(13, "no")
    with pytest.raises(PermissionError, match="no"):
        world([], [answer("wsinfo", pid=0)], problem)
    site = world([], [answer("x", counters=counters(opened=2))], problem)
    assert site.counters.opened == 2


def test_the_engine_gives_answers_of_this_form() -> None:
    found = own()
    assert set(answer("a")) <= set(found)
    parsed = monitor.Counters.parse(found["counters"])
    assert len(parsed.round_trips.bounds) == len(parsed.round_trips.counts)
    assert parsed.round_trips.bounds[-1] == float("inf")
    assert parsed + monitor.Counters() == parsed


def test_a_machine_with_another_release_is_understood(world) -> None:
    newer = place("www1", [process("a", 1) | {"colour": 1}], opened=1, colours=7)
    older = place("www2", [process("b", 1)], opened=2)
    older["counters"] = {"opened": 2, "closed": {}, "received_messages": 0}
    older["counters"] |= {"sent_messages": 0}
    answers = [
        answer("a", machine=newer, colour=1),
        {"process": "b", "pid": 1, "host": "www2", "machine": older},
        {"process": "c", "pid": 1, "host": "www3"},
    ]
    site = world([], answers)
    assert site.counters.opened == 3
    assert [one.name for one in site.machines] == ["www1", "www2"]

"""Log lines about something that goes on for long."""

from __future__ import annotations

import logging

import pytest

from dwebsocket.process import bucket
from dwebsocket.process.trouble import Repeats, Trouble
from tests.python.clock import Clock

logger = logging.getLogger("tests.trouble")


def test_it_is_logged_once_and_its_end(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "tests.trouble")
    trouble = Trouble(logger, "It does not work")
    trouble.over()
    for _ in range(3):
        trouble.note(OSError("the database is away"))
    assert len(caplog.records) == 1
    assert "the database is away" in caplog.text
    assert caplog.records[0].exc_info
    monkeypatch.setattr(Trouble, "PAUSE", 0.0)
    trouble.note(OSError("it still is"))
    trouble.over()
    trouble.over()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "WARNING", "INFO"]
    trouble.note(OSError("again"))
    assert len(caplog.records) == 4


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that the test moves."""
    made = Clock()
    monkeypatch.setattr(bucket, "time", made)
    return made


def failure(kind: type[Exception] = ValueError) -> Exception:
    try:
        raise kind("no")
    except kind as error:
        return error


def test_what_repeats_itself_is_reported_now_and_then(clock):
    repeats = Repeats()
    found = [repeats.skipped(failure()) for _ in range(15)]
    assert found == [0] * 10 + [None] * 5
    clock.now += 61
    assert [repeats.skipped(failure()) for _ in range(2)] == [5, None]
    clock.now += 3_600
    found = [repeats.skipped(failure()) for _ in range(11)]
    assert found == [1] + [0] * 9 + [None]


def test_only_what_is_alike_counts_together(clock):
    repeats = Repeats()
    for _ in range(11):
        repeats.skipped(failure())
    assert repeats.skipped(failure(KeyError)) == 0
    assert repeats.skipped(failure()) is None
    with pytest.raises(ValueError, match="no") as elsewhere:
        raise ValueError("no")
    assert repeats.skipped(elsewhere.value) == 0


def deep(steps):
    if steps:
        return deep(steps - 1)
    raise ValueError("no")


def test_an_endless_recursion_takes_little_memory(clock):
    repeats = Repeats()
    for steps in (100, 200):
        with pytest.raises(ValueError, match="no") as failed:
            deep(steps)
        repeats.skipped(failed.value)
    ((_, found),) = repeats._kinds
    assert len(found) == 20


def test_of_very_many_kinds_the_oldest_are_forgotten(clock, monkeypatch):
    monkeypatch.setattr(Repeats, "MOST", 2)
    repeats = Repeats()
    for kind in (ValueError, KeyError, ValueError, TypeError):
        repeats.skipped(failure(kind))
    assert [kind.__name__ for kind, _ in repeats._kinds] == ["ValueError", "TypeError"]

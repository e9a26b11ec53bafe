"""Memory is given back when most of many views have ended."""

from __future__ import annotations

import pytest

from dwebsocket.process import trim


@pytest.fixture
def trims(monkeypatch):
    counted = []
    monkeypatch.setattr(trim, "_trim", lambda: counted.append(None))
    return counted


def _end(crowd, running, until):
    for left in range(running - 1, until - 1, -1):
        crowd.left(left, left + 1)


def test_a_crowd_that_goes_is_noticed_once(trims):
    crowd = trim.Crowd()
    _end(crowd, 2000, 101)
    assert trims == []
    _end(crowd, 101, 0)
    assert len(trims) == 1


def test_a_second_crowd_is_noticed_too(trims):
    crowd = trim.Crowd()
    for _ in range(2):
        _end(crowd, 1000, 0)
    assert len(trims) == 2


def test_a_few_are_no_crowd(trims):
    crowd = trim.Crowd()
    _end(crowd, 999, 0)
    assert trims == []


def test_trimming_does_no_harm():
    trim._trim()

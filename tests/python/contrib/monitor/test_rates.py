"""Rates over readings of counters."""

from __future__ import annotations

from dwebsocket.contrib.monitor.rates import Rate, Rates


def test_the_second_reading_gives_a_rate() -> None:
    rates: Rates[str] = Rates(2.0)
    assert rates.update(10.0, {"a": (5, 5)}) == {"a": None}
    assert rates.update(12.0, {"a": (9, 5)}) == {"a": Rate(2.0, 0.0)}
    assert rates.update(16.0, {"a": (9, 25)}) == {"a": Rate(0.0, 5.0)}


def test_a_reading_in_between_changes_nothing() -> None:
    rates: Rates[str] = Rates(2.0)
    rates.update(10.0, {"a": (0, 0)})
    assert rates.update(10.1, {"a": (1, 0)}) == {"a": None}
    assert rates.update(12.0, {"a": (2, 0)}) == {"a": Rate(1.0, 0.0)}
    assert rates.update(12.1, {"a": (9, 0)}) == {"a": Rate(1.0, 0.0)}


def test_counters_that_fall_have_no_negative_rate() -> None:
    rates: Rates[str] = Rates(2.0)
    rates.update(10.0, {"a": (5, 5)})
    assert rates.update(12.0, {"a": (1, 6)}) == {"a": Rate(0.0, 0.5)}


def test_a_total_is_that_of_the_rates_that_are_known() -> None:
    assert Rate.total([Rate(1.0, 2.0), None, Rate(3.0, 0.5)]) == Rate(4.0, 2.5)
    assert Rate.total([None]) is None
    assert Rate.total([]) is None


def test_what_is_not_read_is_forgotten() -> None:
    rates: Rates[str] = Rates(2.0)
    rates.update(10.0, {"a": (0, 0), "b": (0, 0)})
    assert set(rates.update(12.0, {"b": (0, 0)})) == {"b"}
    assert rates.update(14.0, {"a": (2, 0), "b": (0, 0)})["a"] is None

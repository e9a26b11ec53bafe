"""The metrics that are made of figures."""

from __future__ import annotations

import pytest

from dwebsocket import monitor
from dwebsocket.monitor.exposition import families

from .answers import counters


def _samples(site: monitor.Site) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families(site)
        for sample in family.samples
    }


@pytest.fixture
def samples() -> dict[tuple[str, ...], float]:
    parsed = monitor.Counters.parse(
        counters(
            opened=9,
            closed={"1000": 2, "4xxx": 3},
            refused={"403": 4},
            sent_messages=5,
            lost=6,
        )
    )
    silent = monitor.Process("b", "www1", 8, 0, True, 1)
    process = monitor.Process(
        "a",
        "www1",
        7,
        0,
        False,
        4,
        answered=True,
        inbox_bytes=11,
        broker="connected",
        views={"thread": {"socket": 1}, "task": {"queue": 2, "socket": 1}},
    )
    other = monitor.Process(
        "c", "www1", 9, 0, False, 3, answered=True, views={"task": {"queue": 3}}
    )
    processes = (process, silent, other)
    return _samples(monitor.Site((monitor.Machine("www1", parsed, processes),)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connections_opened_total", 9),
        ("connections_closed_total 1000", 2),
        ("connections_closed_total 4xxx", 3),
        ("handshakes_refused_total 403", 4),
        ("messages_sent_total", 5),
        ("messages_lost_total", 6),
        ("messages_dropped_total block", 0),
        ("connections", 8),
        ("connections_by_view thread socket", 1),
        ("connections_by_view task socket", 1),
        ("connections_by_view task queue", 5),
        ("processes", 3),
        ("processes_silent", 1),
        ("processes_stopping", 1),
        ("inbox_bytes", 11),
        ("broker_up", 1),
        ("round_trip_seconds_bucket 0.1", 1),
        ("round_trip_seconds_bucket +Inf", 3),
        ("round_trip_seconds_count", 3),
        ("round_trip_seconds_sum", 3),
    ],
)
def test_a_figure_is_a_metric(samples, name: str, value: float) -> None:
    name, *labels = f"dwebsocket_{name}".split()
    assert samples[(name, "www1", *labels)] == value


def test_without_a_broker_its_state_is_left_out() -> None:
    machine = monitor.Machine("www1", monitor.Counters(), ())
    assert ("dwebsocket_broker_up", "www1") not in _samples(monitor.Site((machine,)))

"""The figures as metrics of ``prometheus_client``; docs/metrics.md explains each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import attrgetter

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from .figures import Counters, Machine, Site

__all__ = ("families",)


def families(site: Site) -> Iterator[Metric]:
    """Return the metrics of a site, with a label for the machine."""
    yield from _gauges(site.machines)
    yield from _counters(site.machines)
    yield _round_trips(site.machines)


def _gauge(
    name: str,
    text: str,
    machines: Iterable[Machine],
    value: Callable[[Machine], float | None],
) -> Metric:
    family = GaugeMetricFamily(f"dwebsocket_{name}", text, labels=["machine"])
    for machine in machines:
        found = value(machine)
        if found is not None:
            family.add_metric([machine.name], found)
    return family


#: Gauges that are sums over the processes: the name, the field, the text.
_SUMS = (
    ("connections", "connections", "Open connections."),
    (
        "outbox_messages",
        "outbox_messages",
        "Messages that wait to be written to peers.",
    ),
    ("outbox_bytes", "outbox_bytes", "Bytes that wait to be written to peers."),
    ("inbox_messages", "inbox_messages", "Messages that wait for views."),
    ("inbox_bytes", "inbox_bytes", "Bytes that wait for views."),
    ("groups", "groups", "Groups, counted once in each process that has members."),
    ("memberships", "memberships", "Memberships of connections in groups."),
    ("users", "users", "Users with connections, counted once in each process."),
    ("broker_waiting_messages", "broker_waiting", "Messages that wait for the broker."),
)


def _gauges(machines: Iterable[Machine]) -> Iterator[Metric]:
    yield _gauge(
        "processes",
        "Processes that serve WebSockets.",
        machines,
        lambda machine: len(machine.processes),
    )
    yield _gauge(
        "processes_silent",
        "Processes with connections that did not answer in time.",
        machines,
        lambda machine: sum(
            bool(one.connections) and not one.answered for one in machine.processes
        ),
    )
    yield _gauge(
        "processes_stopping",
        "Processes whose stop has begun.",
        machines,
        lambda machine: machine.total("stopping"),
    )
    for name, field, text in _SUMS:
        yield _gauge(name, text, machines, partial(Machine.total, gauge=field))
    yield _views(machines)
    yield _gauge(
        "broker_up",
        "1 if every process reaches the broker; 0 if one does not.",
        machines,
        Machine.broker_up,
    )


def _views(machines: Iterable[Machine]) -> Metric:
    family = GaugeMetricFamily(
        "dwebsocket_connections_by_view",
        "Open connections, by what their views run in, and by transport.",
        labels=["machine", "view", "transport"],
    )
    for machine in machines:
        for kind, count in sorted(machine.views().items()):
            family.add_metric([machine.name, *kind], count)
    return family


def _counter(
    name: str,
    text: str,
    machines: Iterable[Machine],
    value: Callable[[Counters], int],
) -> Metric:
    family = CounterMetricFamily(f"dwebsocket_{name}", text, labels=["machine"])
    for machine in machines:
        family.add_metric([machine.name], value(machine.counters))
    return family


def _by(
    label: str,
    name: str,
    text: str,
    machines: Iterable[Machine],
    values: Callable[[Counters], Mapping[str, int]],
) -> Metric:
    labels = ["machine", label]
    family = CounterMetricFamily(f"dwebsocket_{name}", text, labels=labels)
    for machine in machines:
        for key, value in sorted(values(machine.counters).items()):
            family.add_metric([machine.name, key], value)
    return family


#: Counters without another label: the name, the field, the text.
_COUNTERS = (
    ("connections_opened", "opened", "Connections that were opened."),
    ("messages_received", "received_messages", "Messages from peers."),
    ("received_bytes", "received_bytes", "Bytes of messages from peers."),
    ("messages_sent", "sent_messages", "Messages to peers."),
    ("sent_bytes", "sent_bytes", "Bytes of messages to peers."),
    ("view_errors", "view_errors", "Views that have ended with an exception."),
    ("messages_lost", "lost", "Messages lost on the way over the broker."),
)


def _counters(machines: Iterable[Machine]) -> Iterator[Metric]:
    for name, field, text in _COUNTERS:
        yield _counter(name, text, machines, attrgetter(field))
    yield _by(
        "code",
        "connections_closed",
        "Connections that have ended, by close code.",
        machines,
        lambda counters: counters.closed,
    )
    yield _by(
        "status",
        "handshakes_refused",
        "Refused handshakes, by HTTP status.",
        machines,
        lambda counters: counters.refused,
    )
    yield _by(
        "policy",
        "messages_dropped",
        "Messages lost to full outboxes, by the policy in force.",
        machines,
        lambda counters: counters.dropped,
    )


def _round_trips(machines: Iterable[Machine]) -> Metric:
    family = HistogramMetricFamily(
        "dwebsocket_round_trip_seconds",
        "Times between pings and their pongs.",
        labels=["machine"],
    )
    for machine in machines:
        trips = machine.counters.round_trips
        total, buckets = 0, []
        for bound, count in zip(trips.bounds, trips.counts, strict=True):
            total += count
            text = "+Inf" if bound == float("inf") else str(bound)
            buckets.append((text, total))
        if buckets:
            family.add_metric([machine.name], buckets, trips.seconds)
    return family

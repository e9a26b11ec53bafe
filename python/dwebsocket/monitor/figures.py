"""The figures of a site: its machines, their processes, and what they have counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dwebsocket.conf import settings
from dwebsocket.process import figures

from . import asking
from .asking import Answer, Here, Scope

__all__ = (
    "Counters",
    "Machine",
    "Process",
    "RoundTrips",
    "Site",
    "answered",
    "question",
    "site",
    "views_of",
)


@dataclass(frozen=True)
class RoundTrips:
    """The times between pings and their pongs.

    Args:
        bounds: The upper bounds of the ranges in seconds; the last is infinite.
        counts: How many times there were in each range.
        seconds: The sum of all times.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    seconds: float = 0.0

    def __add__(self, other: RoundTrips) -> RoundTrips:
        if not self.bounds or not other.bounds:
            return other if other.bounds else self
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        return RoundTrips(self.bounds, counts, self.seconds + other.seconds)


@dataclass(frozen=True)
class Counters:
    """What processes have counted since the site began. All numbers only rise.

    (Without a directory, the numbers of a process end with it.)

    Args:
        opened: Connections that were opened.
        closed: Connections that have ended, by close code. "3xxx" and "4xxx" have the
            codes of applications that only peers have said.
        refused: Handshakes that this package has refused, by HTTP status.
        received_messages: Messages from peers.
        received_bytes: The bytes of these messages.
        sent_messages: Messages to peers, one for each connection that gets it.
        sent_bytes: The bytes of these messages.
        dropped: Messages lost to full outboxes, by the policy that was in force.
        view_errors: Views that have ended with an exception.
        lost: Messages that were lost on the way over the broker.
        round_trips: The times between pings and their pongs.
    """

    opened: int = 0
    closed: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    received_messages: int = 0
    received_bytes: int = 0
    sent_messages: int = 0
    sent_bytes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    view_errors: int = 0
    lost: int = 0
    round_trips: RoundTrips = RoundTrips()

    @classmethod
    def parse(cls, counters: Answer) -> Counters:
        """Return the counters of an answer; it may be of another release."""
        known = {name: counters[name] for name in cls.names() if name in counters}
        trips = known.pop("round_trips", None)
        if trips is None:
            return cls(**known)
        bounds = tuple(float("inf") if b is None else b for b in trips["bounds"])
        parsed = RoundTrips(bounds, tuple(trips["counts"]), trips["nanoseconds"] / 1e9)
        return cls(**known, round_trips=parsed)

    @classmethod
    def names(cls) -> Iterable[str]:
        """Return the names of the counters."""
        return cls.__dataclass_fields__

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            **{
                name: _plus(getattr(self, name), getattr(other, name))
                for name in self.names()
            }
        )


def _plus(one: Any, other: Any) -> Any:
    if not isinstance(one, Mapping):
        return one + other
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


@dataclass(frozen=True)
class Process:
    """A process that serves WebSockets.

    Args:
        name: The name that no other process has.
        machine: The name of its machine.
        pid: The process id.
        started: When the process began to count: seconds since 1970.
        stopping: Whether its stop has begun.
        connections: Its open connections.
        answered: Whether the process has answered. If not, it is stopped or very busy,
            or has had no WebSocket yet, and the fields below are 0.
        outbox_messages: Messages that wait to be written to peers.
        outbox_bytes: Their bytes.
        inbox_messages: Messages that wait for views.
        inbox_bytes: Their bytes.
        groups: Groups with members in this process.
        memberships: Memberships of its connections in groups.
        users: Users with a connection to this process.
        broker: "none", "connected" or "away"; "" if the process has not answered.
        broker_waiting: Messages that wait for the broker.
        broker_address: The address of the broker, without a password; "" without one.
        watchers: Open pages of :mod:`dwebsocket.contrib.monitor`; ``connections`` has
            them, too.
        views: The open connections by what their views run in ("thread", "greenlet",
            "task", "handler", "request"), and these by transport ("socket", "queue").
    """

    name: str
    machine: str
    pid: int
    started: int
    stopping: bool
    connections: int
    answered: bool = False
    outbox_messages: int = 0
    outbox_bytes: int = 0
    inbox_messages: int = 0
    inbox_bytes: int = 0
    groups: int = 0
    memberships: int = 0
    users: int = 0
    broker: str = ""
    broker_waiting: int = 0
    broker_address: str = ""
    watchers: int = 0
    views: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """The processes of a site on one machine.

    Args:
        name: The name of the machine.
        counters: What its processes have counted, those that have ended included.
        processes: The processes that live.
        parts: The counters by what keeps them: a directory, or a process without one.
            A part is missing when nobody has answered for it.
    """

    name: str
    counters: Counters
    processes: tuple[Process, ...]
    parts: Mapping[str, Counters] = field(default_factory=dict)

    def total(self, gauge: str) -> int:
        """Return the sum of a field over the processes, such as "connections"."""
        return sum(getattr(process, gauge) for process in self.processes)

    def views(self) -> Mapping[tuple[str, str], int]:
        """Return the open connections by what their views run in, and by transport."""
        return views_of(self.processes)

    def broker_up(self) -> bool | None:
        """Return whether all processes reach the broker; None if there is none."""
        states = {process.broker for process in self.processes} - {"", "none"}
        return states == {"connected"} if states else None


@dataclass(frozen=True)
class Site:
    """The machines of a site, by name."""

    machines: tuple[Machine, ...]

    @property
    def counters(self) -> Counters:
        """The sum of what all machines have counted."""
        return sum((one.counters for one in self.machines), Counters())

    @property
    def parts(self) -> Mapping[str, Counters]:
        """The counters of all machines by what keeps them.

        The difference between two readings is right for each part that both have. That
        of the sum is not: a part that was missing once comes back with all its counts.
        """
        return {key: one for each in self.machines for key, one in each.parts.items()}

    @property
    def processes(self) -> tuple[Process, ...]:
        """The processes of all machines."""
        return tuple(one for machine in self.machines for one in machine.processes)


def views_of(processes: Iterable[Process]) -> Mapping[tuple[str, str], int]:
    """Return the connections of processes by what views run in, and by transport."""
    found: dict[tuple[str, str], int] = {}
    for process in processes:
        for view, transports in process.views.items():
            for transport, count in transports.items():
                found[view, transport] = found.get((view, transport), 0) + count
    return found


#: The fields of a process that only the process itself knows.
_GAUGES = (
    "outbox_messages",
    "outbox_bytes",
    "inbox_messages",
    "inbox_bytes",
    "groups",
    "memberships",
    "users",
    "broker",
    "broker_waiting",
    "broker_address",
    "watchers",
    "views",
)


def site(scope: Scope = "site") -> Site:
    """Return the figures of the site: all its processes, asked now.

    Counts stay when a process ends, however it ends. A process of this machine that
    does not answer is in the figures with its counts and its number of connections.

    Args:
        scope: "site": every machine that answers over the broker; "machine": only the
            processes of this machine.

    Raises:
        PermissionError: The figures of this machine cannot be read, and no other
            process answers.
    """
    here = asking.here()
    return answered(here, asking.ask(question(scope), scope, here.places))


def question(scope: Scope) -> Answer:
    """Return the question for the figures."""
    return {"kind": "figures", "machine": scope == "site" and _has_broker()}


def answered(here: Here, answers: Iterable[Answer]) -> Site:
    """Return the figures that the processes have answered.

    Args:
        here: What this machine's directories say.
        answers: The answers.

    Raises:
        PermissionError: The figures of this machine cannot be read, and no other
            process answers.
    """
    answers = list(answers)
    found = _Found()
    for place in here.places:
        found.place(place)
    for answer in answers:
        if answer.get("machine"):
            found.place(answer["machine"])
    for answer in answers:
        found.alone(answer)
    whole = found.site({answer["process"]: answer for answer in answers})
    if here.problem is not None and not whole.machines:
        raise PermissionError(*here.problem.args) from here.problem
    return whole


def _has_broker() -> bool:
    return settings.BROKER is not None


#: The counters of an answer that has none.
_NONE: Answer = {"opened": 0, "refused": {}}


class _Found:
    """What the answers say, put together."""

    def __init__(self) -> None:
        #: The directories, by what identifies them.
        self._places: dict[str, Answer] = {}

    def place(self, place: Answer) -> None:
        """Take what a directory says. All its processes say the same, sooner or later.

        Counts only rise: the reading with the highest is the latest.
        """
        known = self._places.get(place["place"])
        if known is None or _age(place) > _age(known):
            self._places[place["place"]] = place

    def alone(self, answer: Answer) -> None:
        """Take the answer of a process without a directory, if it serves WebSockets."""
        known = {
            process["process"]
            for place in self._places.values()
            for process in place["processes"]
        }
        counters = answer.get("counters", _NONE)
        own = figures.begun() and answer["pid"] == os.getpid()
        serves = own or counters["opened"] or counters["refused"]
        # A broker's answer of a process in a directory has that directory.
        if answer["process"] in known or answer.get("machine") or not serves:
            return
        self._places[answer["process"]] = {
            "place": answer["process"],
            "machine": answer["host"],
            "processes": [answer],
            "counters": counters,
        }

    def site(self, answers: Mapping[str, Answer]) -> Site:
        """Return the site."""
        machines: dict[str, Machine] = {}
        for place in self._places.values():
            machine = _machine(place, answers.get)
            other = machines.get(machine.name)
            if other is not None:
                machine = Machine(
                    machine.name,
                    other.counters + machine.counters,
                    other.processes + machine.processes,
                    {**other.parts, **machine.parts},
                )
            machines[machine.name] = machine
        return Site(tuple(machines[name] for name in sorted(machines)))


def _age(place: Answer) -> int:
    counters = place["counters"]
    closed: Iterable[int] = counters["closed"].values()
    return int(
        counters["opened"]
        + counters["received_messages"]
        + counters["sent_messages"]
        + sum(closed)
    )


def _machine(place: Answer, answer: Callable[[str], Answer | None]) -> Machine:
    processes = []
    for one in place["processes"]:
        said = answer(one["process"]) or {}
        # A process without a broker has null as its address.
        gauges = {n: said[n] for n in _GAUGES if said.get(n) is not None}
        process = Process(
            name=one["process"],
            machine=place["machine"],
            pid=one["pid"],
            started=one["started"],
            stopping=bool(one["stopping"] or said.get("stopping")),
            connections=one["connections"],
            answered=bool(said),
            **gauges,
        )
        processes.append(process)
    counters = Counters.parse(place["counters"])
    parts = {place["place"]: counters}
    return Machine(place["machine"], counters, tuple(processes), parts)

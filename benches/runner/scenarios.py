"""The scenarios: how each is measured, and how long that takes."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from peers import Running

from runner.machine import Setting
from runner.results import Figures

GROUPS = ("echo", "handshake", "fanout", "idle", "growth")
SIZES = (1, 10, 100, 1000, 5000, 15000)
MEMBERS = (1000, 5000)
IN_FLIGHT = (1, 16)
# The share of the connections that are active, beside all of them.
FEW = 0.05
# The peers whose growth is measured unless the command line names others.
GROWING = (
    "ours",
    "ours-gevent",
    "bare-loop",
    "asgi-uvicorn",
    "picows",
    "tokio-websockets",
)
# The time limits of the load program: a server that hangs does not stop the whole.
LIMIT = 60
LONG = 120
# A measurement goes on until it has so many echoes: a busy machine may pause it.
LEAST = 1000
# Opening a connection takes so long with a slow server, and starting one.
OPEN = 0.0015
START = 1.2


@dataclass(frozen=True)
class Bench:
    """The conditions of a measurement.

    Attributes:
        setting: The setting of the machine.
        seconds: How long each figure is measured.
        warmup: How long the load runs before that.
        idle: The number of connections whose memory is measured.
        spinners: The programs that keep processors busy.
    """

    setting: Setting
    seconds: float
    warmup: float
    idle: int
    spinners: tuple[int, ...] = ()

    def load(
        self,
        command: str,
        running: Running,
        options: Mapping[str, object],
        limit: float = LIMIT,
    ) -> dict[str, Any]:
        """Run the load program; return its figures, and what else used processors.

        Raises:
            common.Failed: A message was lost, doubled or changed, or the server broke.
        """
        fixed = {
            "address": running.address,
            "seconds": self.seconds,
            "warmup": self.warmup,
        }
        with common.Others(*running.pids, *self.spinners) as others:
            figures = common.load_once(
                self.setting.cpus, command, running.pids, {**fixed, **options}, limit
            )
        return figures | {"others": others.processors}


# The figures of a run by their names in the load program's output.
NAMES = {
    "rate": "rate",
    "server_cpu_us": "cpu_us",
    "client_cpu_us": "client_us",
    "others": "others",
    "latency_p50_us": "p50_us",
    "latency_p99_us": "p99_us",
}


def figures(printed: dict[str, Any]) -> Figures:
    """Return the figures of one measurement, by the report's names.

    Raises:
        common.Failed: There was no message to measure.
    """
    if not printed["messages"]:
        raise common.Failed("no message came back in the measured time")
    found = {NAMES[name]: value for name, value in printed.items() if name in NAMES}
    for share in ("p50", "p99"):
        if f"latency_{share}_ms" in printed:
            found[f"{share}_us"] = printed[f"latency_{share}_ms"] * 1000
    return found


# A scenario's name, and the number of connections where it has several.
Leaf = tuple[str, int]
# The figures, or why there are none.
Measured = dict[Leaf, Figures]


@dataclass(frozen=True)
class Task:
    """A part of a scenario: what is measured without another server in between.

    Attributes:
        name: The scenario's name, for the command line.
        group: The scenarios that belong together.
        needs: What a peer must be able to serve.
        leaves: The measurements that it makes.
        connections: How many connections it opens.
        windows: How many times it measures for ``Bench.seconds``.
        measure: Measures a server.
        easier: A part of it that is tried with a fresh server if it fails.
    """

    name: str
    group: str
    needs: str
    leaves: tuple[Leaf, ...]
    connections: int
    windows: int
    measure: Callable[[Bench, Running], Measured]
    easier: Task | None = None

    @property
    def hardest(self) -> Iterator[Leaf]:
        """The measurements that are not tried again if the task fails."""
        again = self.easier.leaves if self.easier else ()
        return (leaf for leaf in self.leaves if leaf not in again)

    def seconds(self, bench: Bench) -> float:
        """Return about how long it takes."""
        opening = self.connections * OPEN
        return self.windows * (bench.seconds + bench.warmup) + opening + 0.1


def echo(name: str, **options: object) -> Task:
    """Make an echo scenario."""

    def measure(bench: Bench, running: Running) -> Measured:
        fixed = {"path": "/echo", "threads": bench.setting.threads, "least": LEAST}
        printed = bench.load("echo", running, fixed | options)
        return {(name, 0): figures(printed)}

    return Task(name, "echo", "echo", ((name, 0),), 100, 1, measure)


def handshakes(bench: Bench, running: Running) -> Measured:
    """Measure connections that open, echo once and close.

    With eight at a time: how many a second, and their CPU time. With one at a time: the
    time until the handshake is answered, and beside it that of a GET.
    """
    options: dict[str, object] = {"path": "/echo", "connections": 1}
    request = options | {"path": "/hello", "kind": "http"}
    many = bench.load("handshake", running, options | {"connections": 8})
    one = bench.load("handshake", running, options)
    found = figures(many)
    found |= {"p50_us": one["answered_p50_us"], "p99_us": one["answered_p99_us"]}
    found |= {"one_cpu_us": one["server_cpu_us"]}
    try:
        get = bench.load("handshake", running, request)
    except common.Failed:
        # A server that has no HTTP.
        return {("handshake", 0): found}
    found |= {"get_us": get["latency_p50_us"], "get_cpu_us": get["server_cpu_us"]}
    found["over_us"] = found["p50_us"] - found["get_us"]
    found["over_cpu_us"] = found["one_cpu_us"] - found["get_cpu_us"]
    return {("handshake", 0): found}


def in_phases(
    bench: Bench,
    running: Running,
    command: str,
    options: Mapping[str, object],
    varied: tuple[str, Mapping[Leaf, object]],
) -> Measured:
    """Measure several values of an option with the same connections, easy ones first.

    Raises:
        common.Failed: One of them failed.
    """
    name, values = varied
    words = ",".join(map(str, values.values()))
    printed = bench.load(command, running, {**options, name: words}, LONG)
    phases = [phase | {"others": printed["others"]} for phase in printed["phases"]]
    return dict(zip(values, map(figures, phases), strict=True))


def fanout(
    name: str, group: str, members: int, in_flight: tuple[int, ...], leaf: str
) -> Task:
    """Make a fan-out to so many members, with one or several depths."""
    depths = {(leaf.format(depth), members): depth for depth in in_flight}

    def measure(bench: Bench, running: Running) -> Measured:
        options = {
            "members": members,
            # A slow server spends the time on one burst; measure it all.
            "least": members,
            "drain": 20,
        }
        return in_phases(bench, running, "fanout", options, ("in_flight", depths))

    first, *harder = in_flight
    easier = fanout(name, group, members, (first,), leaf) if harder else None
    leaves = tuple(depths)
    return Task(name, group, "fanout", leaves, members, len(depths), measure, easier)


def growth(connections: int, *, few: bool = False) -> Task:
    """Make an echo with so many connections: a few active, then all unless ``few``."""
    shares: dict[Leaf, object] = {("growth-echo", connections): 1.0}
    easier = None
    if few:
        shares = {("growth-few", connections): FEW}
    elif connections * FEW > 1:
        shares = {("growth-few", connections): FEW} | shares
        easier = growth(connections, few=True)

    def measure(bench: Bench, running: Running) -> Measured:
        options = {
            "path": "/echo",
            "connections": connections,
            "threads": bench.setting.threads,
            # A slow server with many connections needs more than the usual time.
            "least": 2 * connections,
        }
        return in_phases(bench, running, "echo", options, ("active", shares))

    return Task(
        "growth-echo",
        "growth",
        "echo",
        tuple(shares),
        connections,
        len(shares),
        measure,
        easier,
    )


def idle(bench: Bench, running: Running) -> Measured:
    """Measure the memory of connections that have echoed once and wait.

    The baseline comes after some connections were opened, used and closed.
    """
    with holder(bench, running) as warm:
        for command in ("open 200", "echo"):
            warm(command)
        # A stream that ends without a Close frame is no matter of memory.
        with contextlib.suppress(SystemExit):
            warm("close")
    base = memory(running)
    with holder(bench, running) as held:
        for command in (f"open {bench.idle}", "echo"):
            held(command)
        full = memory(running)
    return {("idle", 0): {"kib": (full - base) / bench.idle / 1024}}


@contextlib.contextmanager
def holder(bench: Bench, running: Running) -> Iterator[common.Holder]:
    """Run the program that holds connections, until the block ends.

    Raises:
        common.Failed: The server broke a connection off, or an echo did not come.
    """
    held = common.Holder(bench.setting.cpus, running.address)
    try:
        yield held
    except (SystemExit, OSError) as error:
        raise common.Failed(str(error)) from error
    finally:
        held.stop()


def memory(running: Running) -> int:
    """Return the memory of a server's processes, once it has stopped changing."""
    return sum(common.settled(pid)["rss"] for pid in running.pids)


TASKS = (
    echo("echo-32", size=32),
    echo("echo-32-8", size=32, in_flight=8),
    echo("echo-64k", size=65536),
    echo("latency", size=32, connections=1),
    Task("handshake", "handshake", "handshake", (("handshake", 0),), 0, 3, handshakes),
    *(
        fanout(f"fanout-{members}", "fanout", members, IN_FLIGHT, "fanout-{}")
        for members in MEMBERS
    ),
    Task("idle", "idle", "idle", (("idle", 0),), 2000, 2, idle),
    *map(growth, SIZES),
    *(fanout("growth-fanout", "growth", size, (1,), "growth-fanout") for size in SIZES),
)
TASK_NAMES = tuple(dict.fromkeys(task.name for task in TASKS))


def possible(task: Task, threads: bool) -> bool:
    """Return whether a server can have so many connections, or threads, here."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [descriptors - 500]
    if threads:
        kernel = Path("/proc/sys/kernel")
        limits += [
            int((kernel / name).read_text()) * 9 // 10
            for name in ("threads-max", "pid_max")
        ]
        # A thread has two mappings: its stack and the guard page.
        limits.append(int(Path("/proc/sys/vm/max_map_count").read_text()) // 2 - 1000)
        control = Path("/sys/fs/cgroup/pids.max")
        if control.exists() and control.read_text().strip() != "max":
            limits.append(int(control.read_text()) * 9 // 10)
    return task.connections <= min(limits)

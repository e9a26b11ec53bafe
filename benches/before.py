"""The cost of a change: this tree compared with an earlier commit.

    python3 benches/before.py --before HEAD~3

The program builds the commit and the working tree, then runs both in turn, round by
round, with the same load program. For each scenario it prints the medians of both and
the ratio of this tree to the commit: for costs, memory and latencies less than 1 is
better, for "per second" more than 1. The lowest and the highest ratio of the rounds
show how reliable the machine is.

Without --scenarios it measures Django's views under gunicorn gthread, in three settings
of the machine: server and load on a core each (one), both on all cores (all), and both
beside a busy program (busy).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import subprocess
import tarfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import common
import engine
from runner import machine

Server = common.Server | engine.Process
Figures = dict[str, float]
Serve = Callable[[Path, argparse.Namespace], contextlib.AbstractContextManager[Server]]
# For each scenario, setting and figure: the figures before and now, round by round.
Runs = dict[tuple[str, str, str], list[tuple[float, float]]]

CPU = "CPU us"
RATE = "per second"


def rust(binary: str) -> Serve:
    """Serve with the engine alone, without Python."""
    return lambda tree, arguments: engine.running(
        binary, "dwebsocket", 2, arguments.cpus, tree
    )


def django(kind: str, urls: str = "urls") -> Serve:
    """Serve Django's views with a kind of gunicorn's workers."""
    return lambda tree, arguments: common.serve(
        common.new_environment(arguments.python, tree),
        kind,
        arguments.cpus,
        BENCH_URLCONF=urls,
    )


SERVERS: dict[str, Serve] = {
    "engine": rust("serve"),
    "hub": rust("fanout"),
    "gthread": django("gthread"),
    "gevent": django("gevent"),
    "groups": django("gthread", "group_urls"),
    # One that has served nothing else.
    "memory": django("sync"),
}


@dataclass(frozen=True)
class Load:
    """A run of the load program, and the figures of it that count."""

    command: str
    options: dict[str, object]
    figures: tuple[tuple[str, str], ...] = (
        (CPU, "server_cpu_us"),
        (RATE, "rate"),
    )

    def __call__(self, server: Server, arguments: argparse.Namespace) -> Figures:
        """Run it."""
        run = common.load(
            arguments,
            self.command,
            server.pid,
            address=server.address,
            seconds=arguments.seconds,
            warmup=arguments.warmup,
            **self.options,
        )
        return {name: run[key] for name, key in self.figures}


def memory(server: Server, arguments: argparse.Namespace) -> Figures:
    """Measure the RSS per idle connection that has echoed once."""
    holder = common.Holder(arguments.cpus, server.address)
    holder("open 500")
    holder("echo")
    holder("close")
    base = common.settled(server.pid)["rss"]
    holder(f"open {arguments.connections}")
    holder("echo")
    full = common.settled(server.pid)["rss"]
    holder("close")
    holder.stop()
    return {"KiB each": (full - base) / arguments.connections / 1024}


LATENCIES = (
    (CPU, "server_cpu_us"),
    ("p50 us", "latency_p50_us"),
    ("p99 us", "latency_p99_us"),
)
ECHOES: dict[str, Load] = {
    "echo, 32 bytes": Load("echo", {"size": 32}),
    "echo, 32 bytes, 8 in flight": Load("echo", {"size": 32, "in_flight": 8}),
    "echo, 64 KiB": Load("echo", {"size": 65536}),
    "echo, one connection": Load("echo", {"size": 32, "connections": 1}, LATENCIES),
}
HANDSHAKE = Load("handshake", {})
FANOUTS: dict[str, Load] = {
    "1,000 members, 1 in flight": Load("fanout", {"members": 1000, "in_flight": 1}),
    "1,000 members, 16 in flight": Load("fanout", {"members": 1000, "in_flight": 16}),
}
JSON: dict[str, object] = {"kind": "json", "size": 1024, "deflate": "no-takeover"}
Measure = Callable[[Server, argparse.Namespace], Figures]


def on(server: str, scenarios: dict[str, Load], **more: object) -> dict[str, Measure]:
    """Return the scenarios of a server, with its name before theirs."""
    return {
        f"{server}: {name}": Load(load.command, load.options | more, load.figures)
        for name, load in scenarios.items()
    }


SCENARIOS: dict[str, Measure] = {
    **on("gthread", ECHOES | {"handshake": HANDSHAKE}, path="/echo"),
    **on("gevent", ECHOES | {"handshake": HANDSHAKE}, path="/echo"),
    **on("groups", FANOUTS),
    "memory: idle connections": memory,
    **on("engine", ECHOES | {"echo, JSON, deflate": Load("echo", JSON)}),
    **on("hub", FANOUTS),
}


def checkout(revision: str) -> Path:
    """Unpack a commit; return the directory."""
    git = ["git", "-C", str(common.ROOT)]
    commit = subprocess.run(
        [*git, "rev-parse", "--verify", revision + "^{commit}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    place = common.TARGET / "before" / "tree" / commit
    if not place.exists():
        archive = subprocess.run(
            [*git, "archive", commit], stdout=subprocess.PIPE, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(place, filter="data")
    return place


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__, pins=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--before", default="HEAD", metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--connections", type=int, default=5000, help="of memory")
    parser.add_argument(
        "--cores",
        default=",".join(machine.NAMES),
        help="settings of the machine (one,all,busy)",
    )
    parser.add_argument(
        "--scenarios",
        default="gthread",
        help="parts of scenarios' names, separated by commas; '' measures all: "
        + "; ".join(SCENARIOS),
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = options()
    common.raise_descriptor_limit()
    parts = arguments.scenarios.split(",")
    names = [name for name in SCENARIOS if any(part in name for part in parts)]
    settings = machine.settings(arguments.cores.split(","), machine.processors())
    if common.profile():
        print(f"not built as users build it: {common.profile()}")
    trees = [checkout(arguments.before), common.ROOT]
    began = time.monotonic()
    runs: Runs = defaultdict(list)
    for number in range(arguments.rounds):
        for setting in settings:
            arguments.cpus = setting.cpus
            # The order alternates: a machine that slows down favours neither tree.
            order = trees if number % 2 == 0 else trees[::-1]
            with machine.prepared(setting):
                turn(number, setting.name, names, trees, order, runs, arguments)
    report(runs)
    print(f"\nthis took {time.monotonic() - began:.0f} s")


def turn(
    number: int,
    setting: str,
    names: list[str],
    trees: list[Path],
    order: list[Path],
    runs: Runs,
    arguments: argparse.Namespace,
) -> None:
    """Measure every scenario once in one setting."""
    for kind, serve in SERVERS.items():
        mine = [name for name in names if name.split(":")[0] == kind]
        if not mine:
            continue
        with contextlib.ExitStack() as stack:
            # Both servers are there at once; the one that is not measured sleeps.
            servers = {
                tree: stack.enter_context(serve(tree, arguments)) for tree in trees
            }
            for name in mine:
                measure = SCENARIOS[name]
                figures = {tree: measure(servers[tree], arguments) for tree in order}
                before, now = (figures[tree] for tree in trees)
                for figure in before:
                    pair = before[figure], now[figure]
                    runs[name, setting, figure].append(pair)
                told = ", ".join(
                    f"{before[figure]:,.4g} -> {now[figure]:,.4g} {figure}"
                    for figure in before
                )
                print(f"round {number + 1}: {setting}: {name}: {told}", flush=True)


def report(runs: Runs) -> None:
    """Print every scenario's medians, and the median of the rounds' ratios."""
    print()
    rows = []
    for (name, setting, figure), pairs in sorted(
        runs.items(), key=lambda item: list(SCENARIOS).index(item[0][0])
    ):
        ratios = sorted(now / before for before, now in pairs)
        rows.append(
            [
                name,
                setting,
                figure,
                *(
                    f"{statistics.median(side):,.4g}"
                    for side in zip(*pairs, strict=True)
                ),
                f"{statistics.median(ratios):.3f}",
                f"{ratios[0]:.3f}",
                f"{ratios[-1]:.3f}",
            ]
        )
    common.table(
        ["scenario", "cores", "figure", "before", "now"]
        + ["now/before", "lowest", "highest"],
        rows,
    )


if __name__ == "__main__":
    main()

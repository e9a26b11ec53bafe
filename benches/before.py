"""The cost of a change: this tree compared with an earlier commit.

    python3 benches/before.py --before HEAD~3

The program builds the commit and the working tree, then runs both in turn, round by
round, with the same load program. For each scenario it prints the medians of both and
the ratio of this tree to the commit: below 1, this tree is cheaper. The lowest and the
highest ratio of the rounds show how reliable the machine is.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import tarfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import common
import engine

Measure = Callable[[Path, argparse.Namespace], float]
CPU = "us of CPU each"


def alone(command: str, binary: str, **options: object) -> Measure:
    """Measure the engine without Python, in CPU time per message."""

    def measure(tree: Path, arguments: argparse.Namespace) -> float:
        with engine.running(binary, "dwebsocket", 2, arguments.cpus, tree) as server:
            return load(arguments, command, server, **options)

    return measure


def echo(**options: object) -> Measure:
    """Measure an echo of 100 connections."""
    return alone("echo", "serve", connections=100, **options)


def fanout(in_flight: int) -> Measure:
    """Measure broadcasts to 1,000 members, in CPU time per delivery."""
    options = {"members": 1000, "in_flight": in_flight, "size": 128}
    return alone("fanout", "fanout", **options)


def django(command: str, urls: str = "urls", **options: object) -> Measure:
    """Measure views under gunicorn gthread, in CPU time per message."""

    def measure(tree: Path, arguments: argparse.Namespace) -> float:
        interpreter = common.new_environment(arguments.python, tree)
        with common.serve(
            interpreter, "gthread", arguments.cpus, BENCH_URLCONF=urls
        ) as server:
            return load(arguments, command, server, **options)

    return measure


def handshakes(tree: Path, arguments: argparse.Namespace) -> float:
    """Measure opening a connection and closing it, in CPU time of the server."""
    interpreter = common.new_environment(arguments.python, tree)
    with common.serve(interpreter, "sync", arguments.cpus) as server:
        holder = common.Holder(arguments.cpus, server.address)
        holder("open 200")
        holder("close")
        used, count = common.cpu_seconds(server.pid), 0
        end = time.monotonic() + arguments.seconds
        while time.monotonic() < end:
            holder("open 200")
            holder("close")
            count += 200
        used = common.cpu_seconds(server.pid) - used
        holder.stop()
    return used / count * 1e6


def memory(tree: Path, arguments: argparse.Namespace) -> float:
    """Measure the RSS per idle connection that has echoed once, in KiB."""
    interpreter = common.new_environment(arguments.python, tree)
    with common.serve(interpreter, "sync", arguments.cpus) as server:
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
    return (full - base) / arguments.connections / 1024


def load(
    arguments: argparse.Namespace,
    command: str,
    server: common.Server | engine.Process,
    **options: object,
) -> float:
    """Run the load program; return the server's CPU time per message."""
    run = common.load(
        arguments,
        command,
        server.pid,
        address=server.address,
        seconds=arguments.seconds,
        warmup=arguments.warmup,
        **options,
    )
    return run["server_cpu_us"]


SCENARIOS: dict[str, tuple[str, Measure]] = {
    "engine: echo, 32 bytes, 1 in flight": (CPU, echo(size=32)),
    "engine: echo, 32 bytes, 8 in flight": (CPU, echo(size=32, in_flight=8)),
    "engine: echo, 64 KiB": (CPU, echo(size=65536)),
    "engine: echo, JSON, deflate": (
        CPU,
        echo(kind="json", size=1024, deflate="no-takeover"),
    ),
    "hub: 1,000 members, 1 in flight": (
        CPU,
        fanout(1),
    ),
    "hub: 1,000 members, 16 in flight": (
        CPU,
        fanout(16),
    ),
    "Django: echo, 32 bytes": (
        CPU,
        django("echo", path="/echo", size=32, connections=100),
    ),
    "Django: echo, 64 KiB": (
        CPU,
        django("echo", path="/echo", size=65536, connections=100),
    ),
    "Django: 1,000 members, 1 in flight": (
        CPU,
        django("fanout", "group_urls", members=1000, in_flight=1, size=128),
    ),
    "Django: 1,000 members, 16 in flight": (
        CPU,
        django("fanout", "group_urls", members=1000, in_flight=16, size=128),
    ),
    "Django: open and close": (CPU, handshakes),
    "Django: memory": ("KiB each", memory),
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


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--before", default="HEAD", metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--connections", type=int, default=5000, help="of memory")
    parser.add_argument("--scenario", default="", help="a part of the scenario's name")
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    before = checkout(arguments.before)
    runs: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    trees = [before, common.ROOT]
    for number in range(arguments.rounds):
        for name, (unit, measure) in SCENARIOS.items():
            if arguments.scenario not in name:
                continue
            # The order alternates: a machine that slows down favours neither tree.
            figures = {
                tree: measure(tree, arguments)
                for tree in (trees if number % 2 == 0 else reversed(trees))
            }
            pair = figures[before], figures[common.ROOT]
            runs[name].append(pair)
            print(
                f"round {number + 1}: {name}: {pair[0]:.2f} {unit} before, "
                f"{pair[1]:.2f} now: {pair[1] / pair[0]:.3f}",
                flush=True,
            )
    report(runs)


def report(runs: dict[str, list[tuple[float, float]]]) -> None:
    """Print every scenario's medians, and the median of the rounds' ratios."""
    print()
    rows = []
    for name, pairs in runs.items():
        ratios = sorted(now / before for before, now in pairs)
        rows.append(
            [
                name,
                SCENARIOS[name][0],
                *(
                    f"{statistics.median(side):.2f}"
                    for side in zip(*pairs, strict=True)
                ),
                f"{statistics.median(ratios):.3f}",
                f"{ratios[0]:.3f}",
                f"{ratios[-1]:.3f}",
            ]
        )
    common.table(
        ["scenario", "unit", "before", "now", "now/before", "lowest", "highest"], rows
    )


if __name__ == "__main__":
    main()

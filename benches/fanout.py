"""Broadcasts to thousands of members: the hub compared with other servers.

Servers that do the same work run in turn, round by round: the hub in Rust and in Django
under gunicorn, broadcast servers on four Rust crates, and four in Python. The tables
show deliveries a second, the server's CPU time per delivery, and latencies.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import common
import engine

RUST = ["tokio-websockets", "yawc", "fastwebsockets", "tungstenite"]
HUB = "hub in Rust"
DJANGO = "hub in Django"
# For each server in Python: its packages, and its command line.
PYTHON = {
    "websockets": (["websockets", "uvloop"], ["websockets_server.py"]),
    "picows": (["picows", "uvloop"], ["picows_server.py"]),
    "socketify": (["socketify"], ["socketify_server.py"]),
    "Channels": (
        ["channels", "uvicorn[standard]"],
        ["-m", "uvicorn", "channels_app:application", "--log-level", "warning"]
        + ["--backlog", "4096", "--port"],
    ),
}
NAMES = [HUB, DJANGO, *RUST, *PYTHON]
Setting = tuple[int, int]  # members, messages in flight
Runs = defaultdict[tuple[Setting, str], list[dict[str, float]]]


class Unavailable(Exception):
    """A server cannot be run here."""


def serving(
    name: str, arguments: argparse.Namespace
) -> contextlib.AbstractContextManager[common.Server | engine.Process]:
    """Run a server by its name."""
    if name == DJANGO:
        return common.serve(
            common.new_environment(arguments.python),
            "gthread",
            arguments.cpus,
            BENCH_URLCONF="group_urls",
        )
    if name in PYTHON:
        return python_server(name, arguments)
    crate = "dwebsocket" if name == HUB else name
    return engine.running("fanout", crate, arguments.threads, arguments.cpus)


@functools.cache
def rival_environment(name: str, python: str) -> Path:
    """Install the packages that a server in Python needs."""
    try:
        return common.environment(name.lower(), python, PYTHON[name][0])
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"pip cannot install {PYTHON[name][0]}") from error


@contextlib.contextmanager
def python_server(name: str, arguments: argparse.Namespace) -> Iterator[common.Server]:
    """Run a server of ``benches/rivals`` until the block ends."""
    interpreter = rival_environment(name, arguments.python)
    port = common.free_port()
    words = [str(interpreter), *PYTHON[name][1], str(port)]
    process = subprocess.Popen(
        common.pinned(words, arguments.cpus, 0),
        cwd=common.HERE / "rivals",
        stdout=subprocess.DEVNULL,
    )
    try:
        common.wait_for(lambda: accepts(port) or process.poll() is not None, 30)
        if process.poll() is not None:
            raise Unavailable("the server ends at once, see above")
        yield common.Server(process, port)
    finally:
        process.kill()
        process.wait()


def accepts(port: int) -> bool:
    """Return whether a server listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def measure(
    name: str, setting: Setting, arguments: argparse.Namespace
) -> dict[str, float]:
    """Run one server with so many members and messages in flight."""
    members, in_flight = setting
    with serving(name, arguments) as server:
        try:
            return common.load(
                arguments,
                "fanout",
                server.pid,
                address=server.address,
                members=members,
                in_flight=in_flight,
                size=arguments.size,
                seconds=arguments.seconds,
                warmup=arguments.warmup,
                # A slow server spends the time on one burst; measure three at least.
                least=3 * members * in_flight,
            )
        except subprocess.CalledProcessError as error:
            raise Unavailable("it does not do what it should, see above") from error


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--members", type=int, nargs="*", default=[1000, 5000])
    parser.add_argument(
        "--in-flight",
        type=int,
        nargs="*",
        default=[1, 16],
        help="messages on their way",
    )
    parser.add_argument("--size", type=int, default=128, help="bytes of a message")
    parser.add_argument("--threads", type=int, default=2, help="of the Rust servers")
    parser.add_argument("--only", nargs="*", default=NAMES, choices=NAMES)
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    settings = [
        (members, in_flight)
        for members in arguments.members
        for in_flight in arguments.in_flight
    ]
    runs: Runs = defaultdict(list)
    names = [name for name in NAMES if name in arguments.only]
    for number in range(arguments.rounds):
        for setting in settings:
            for name in list(names):
                try:
                    run = measure(name, setting, arguments)
                except Unavailable as error:
                    print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
                    names.remove(name)
                    continue
                runs[setting, name].append(run)
                print(
                    f"round {number + 1}: {describe(setting)}: {name}: "
                    f"{run['rate']:,.0f}/s, {run['server_cpu_us']:.2f} us of CPU each",
                    flush=True,
                )
    for setting in settings:
        report(setting, names, runs)
    common.print_others(runs.values())


def describe(setting: Setting) -> str:
    """Return a setting in words."""
    return f"{setting[0]:,} members, {setting[1]} in flight"


def report(setting: Setting, names: list[str], runs: Runs) -> None:
    """Print the medians of one setting, and the ratios of the hub's CPU time."""

    def by(hub: str, name: str) -> str:
        if hub not in names or hub == name:
            return "-"
        pair = runs[setting, hub], runs[setting, name]
        return f"{common.ratio(*pair, 'server_cpu_us'):.3g}"

    figures = {
        "deliveries/s": ("rate", ",.0f"),
        "CPU us": ("server_cpu_us", ".2f"),
        "p50 ms": ("latency_p50_ms", ".2f"),
        "p99 ms": ("latency_p99_ms", ".2f"),
        "client us": ("client_cpu_us", ".2f"),
    }
    rows = []
    for name in names:
        of = runs[setting, name]
        cells = [format(common.median(of, key), form) for key, form in figures.values()]
        rows.append([name, *cells, *(by(hub, name) for hub in (HUB, DJANGO))])
    print()
    ratios = [f"CPU of {hub} by it" for hub in (HUB, DJANGO)]
    common.table([describe(setting), *figures, *ratios], rows)
    crates = [name for name in RUST if name in names]
    if crates:
        best = min(
            crates, key=lambda name: common.median(runs[setting, name], "server_cpu_us")
        )
        print(f"of the Rust crates, {best} takes the least CPU time")


if __name__ == "__main__":
    main()

"""One sends to many: the plain loop, one push, and two processes over a broker.

The plain loop ``for user in users: user.send(message)`` runs in the same view on
Django's runserver, with this package and with dwebsocket 0.5.12 in turn. A push is
timed inside the view that makes it. Over a broker, one of two processes publishes to
the members of both. Every client checks that no message is lost and that the messages
of each publisher come in order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Sequence

import brokers
import common

Runs = defaultdict[str, list[dict[str, float]]]
PARTS = ["loop", "push", "processes"]
OLD = ["dwebsocket==0.5.12", "Django==3.0.*", "six", "setuptools<81", "gunicorn"]

# The receivers of a push; "user" and "all" include the publisher itself.
TARGETS = {"group": "push.to_group", "user": "push.to_user", "all": "push.to_all"}
# By the end of the view's address: whether the group keeps a history.
HISTORIES = {"": "no history", "/kept": "history of 1,000"}


def fanout(
    arguments: argparse.Namespace,
    servers: Sequence[common.Server],
    *more: int,
    **options: object,
) -> dict[str, float]:
    """Let one publisher send to the members of some servers; return the figures.

    Args:
        arguments: The arguments of the program.
        servers: The servers over which the members are spread.
        more: Other processes whose CPU time counts.
        options: Options of ``load fanout``, in addition to the common ones.
    """
    common_options = {
        "address": ",".join(server.address for server in servers),
        "members": arguments.members * len(servers),
        "size": arguments.size,
        "seconds": arguments.seconds,
        "warmup": arguments.warmup,
    }
    pids = [server.pid for server in servers]
    return common.load(arguments, "fanout", *pids, *more, **(common_options | options))


def measure_loop(arguments: argparse.Namespace) -> None:
    """Run the plain loop with both packages in turn, and print."""
    versions = {
        "old": common.environment("old", arguments.python, OLD),
        "new": common.new_environment(arguments.python),
    }
    runs: defaultdict[tuple[int, str], list[dict[str, float]]] = defaultdict(list)
    for number in range(arguments.rounds):
        for in_flight in arguments.in_flight:
            for version, interpreter in versions.items():
                with common.serve(interpreter, "runserver", arguments.cpus) as server:
                    run = fanout(
                        arguments,
                        [server],
                        path="/listen",
                        publish_path="/loop",
                        in_flight=in_flight,
                    )
                runs[in_flight, version].append(run)
                progress(
                    f"round {number + 1}: loop, {in_flight} in flight", version, run
                )
    rows = []
    for in_flight in arguments.in_flight:
        old, new = (runs[in_flight, version] for version in ("old", "new"))
        ratios = [common.ratio(new, old, name) for name in ("rate", "server_cpu_us")]
        for version, of in (("old", old), ("new", new)):
            cells = [spread(of, "rate", ",.0f"), spread(of, "server_cpu_us", ".2f")]
            cells += [f"{common.median(of, 'client_cpu_us'):.2f}"]
            cells += [f"{ratio:.2f}" for ratio in ratios] if of is new else ["", ""]
            rows.append([f"{version}, {in_flight} in flight", *cells])
    print(f"\nfor user in users: user.send(message); {arguments.members:,} users")
    common.table(
        [
            "runserver",
            "deliveries/s",
            "CPU us",
            "client us",
            "rate new/old",
            "CPU new/old",
        ],
        rows,
    )
    common.print_others(runs.values())


def measure_push(arguments: argparse.Namespace) -> None:
    """Time single pushes inside a view, and print."""
    rows = []
    runs: Runs = defaultdict(list)
    count = int(arguments.pushes * arguments.seconds)
    for kind in ("gthread", "runserver"):
        for target, call in TARGETS.items():
            nanoseconds: list[int] = []
            for number in range(arguments.rounds):
                run, timings = push_once(arguments, kind, target)
                nanoseconds += timings[-count:]
                runs[f"{kind}, {call}"].append(run)
                progress(f"round {number + 1}: {kind}", call, run)
            figures = [quantile(nanoseconds, share) / 1e6 for share in (0.5, 0.9, 0.99)]
            of = runs[f"{kind}, {call}"]
            rows.append(
                [f"{kind}, {call}", len(nanoseconds)]
                + [f"{figure:.3f}" for figure in figures]
                + [f"{common.median(of, name):.2f}" for name in CLIENTS]
            )
    print(
        f"\nhow long one push to {arguments.members:,} connections keeps its view, "
        f"{arguments.pushes:g} pushes a second"
    )
    common.table(
        [
            "",
            "pushes",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "CPU us",
            "client p50",
            "client p99",
        ],
        rows,
    )
    common.print_others(runs.values())


CLIENTS = ["server_cpu_us", "latency_p50_ms", "latency_p99_ms"]


def push_once(
    arguments: argparse.Namespace, kind: str, target: str
) -> tuple[dict[str, float], list[int]]:
    """Push for a while; return the clients' figures, and each call's nanoseconds."""
    with common.serve(
        common.new_environment(arguments.python),
        kind,
        arguments.cpus,
        BENCH_URLCONF="group_urls",
        BENCH_ONE_USER="yes",
    ) as server:
        run = fanout(
            arguments,
            [server],
            publish_path=f"/timed/{target}",
            rate=arguments.pushes,
            heard=str(target != "group").lower(),
        )
        address = f"http://{server.address}/taken"
        with urllib.request.urlopen(address, timeout=60) as response:
            timings: list[int] = json.load(response)["timings"]
    return run, timings


def measure_processes(arguments: argparse.Namespace) -> None:
    """Let one process of two publish over a broker, and print."""
    runs: Runs = defaultdict(list)
    for number in range(arguments.rounds):
        for kind in arguments.broker:
            for path, history in HISTORIES.items():
                name = f"{kind}, {history}"
                try:
                    busy, calm = over_broker(arguments, kind, path)
                except (SystemExit, common.Failed) as error:
                    print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
                    continue
                runs[name].append(busy)
                runs[f"{name}, a tenth"].append(calm)
                progress(f"round {number + 1}", name, busy)
    rows = []
    for name, of in runs.items():
        latencies = [f"{common.median(of, key):.2f}" for key in CLIENTS[1:]]
        rows.append(
            [name, spread(of, "rate", ",.0f"), spread(of, "server_cpu_us", ".2f")]
            + latencies
        )
    print(
        f"\ntwo processes, {arguments.members:,} members each; none lost, all in order"
    )
    common.table(
        [
            "gunicorn gthread",
            "deliveries/s",
            "CPU us, broker's too",
            "p50 ms",
            "p99 ms",
        ],
        rows,
    )
    common.print_others(runs.values())


def over_broker(
    arguments: argparse.Namespace, kind: str, path: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Publish at full speed, then at a tenth of it; return the figures of both."""
    interpreter = common.new_environment(arguments.python)
    with brokers.running(kind, arguments.python, arguments.cpus) as broker:
        variables = {"BENCH_URLCONF": "group_urls", "BENCH_BROKER": broker.url}

        def serving() -> contextlib.AbstractContextManager[common.Server]:
            return common.serve(interpreter, "gthread", arguments.cpus, **variables)

        with serving() as one, serving() as other:
            options = {"path": f"/member{path}", "publish_path": f"/publish{path}"}
            busy = fanout(arguments, [one, other], broker.pid, **options, in_flight=16)
            rate = busy["rate"] / 10 / (2 * arguments.members)
            calm = fanout(arguments, [one, other], broker.pid, **options, rate=rate)
    return busy, calm


def progress(where: str, what: str, run: dict[str, float]) -> None:
    """Print the figures of one run."""
    print(
        f"{where}: {what}: {run['rate']:,.0f}/s, "
        f"{run['server_cpu_us']:.2f} us of CPU each",
        flush=True,
    )


def spread(runs: Iterable[dict[str, float]], name: str, form: str) -> str:
    """Return the median of a figure, with the least and the most."""
    figures = [run[name] for run in runs]
    cells = [statistics.median(figures), min(figures), max(figures)]
    middle, least, most = (format(cell, form) for cell in cells)
    return f"{middle} ({least} to {most})"


def quantile(values: Sequence[int], share: float) -> float:
    """Return the value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--members", type=int, default=1000, help="of each process")
    parser.add_argument("--size", type=int, default=128, help="bytes of a message")
    parser.add_argument(
        "--in-flight", type=int, nargs="*", default=[1, 16], help="of the plain loop"
    )
    parser.add_argument("--pushes", type=float, default=50, help="a second")
    parser.add_argument(
        "--broker", nargs="*", default=list(brokers.BROKERS), choices=brokers.BROKERS
    )
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    measures = (measure_loop, measure_push, measure_processes)
    for part, measure in zip(PARTS, measures, strict=True):
        if part in arguments.only:
            measure(arguments)


if __name__ == "__main__":
    main()

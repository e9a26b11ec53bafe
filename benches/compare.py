"""This package and dwebsocket 0.5.12: messages a second through the same views.

Each package is installed into a virtual environment of its own. Both are served in
turn, round by round, by the same kind of server.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import common

OLD = ["dwebsocket==0.5.12", "Django==3.0.*", "six", "setuptools<81", "gunicorn"]
SCENARIOS: dict[str, tuple[str, dict[str, object]]] = {
    "echo, 32 bytes": ("echo", {"path": "/echo", "size": 32}),
    "echo, 64 KiB": ("echo", {"path": "/echo", "size": 65536}),
    "chat loop, 1 talks": ("chat", {"path": "/chat", "senders": 1}),
    "chat loop, 10 talk": ("chat", {"path": "/chat", "senders": 10}),
}


def measure(
    interpreter: Path, scenario: str, arguments: argparse.Namespace
) -> dict[str, float]:
    """Run one scenario against a fresh server."""
    command, options = SCENARIOS[scenario]
    many = "connections" if command == "echo" else "members"
    options = options | {
        name: getattr(arguments, name) for name in (many, "seconds", "warmup")
    }
    with common.serve(interpreter, arguments.server, arguments.cpus) as server:
        return common.load(
            arguments, command, server.pid, address=server.address, **options
        )


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--connections", type=int, default=100, help="of the echo view")
    parser.add_argument("--members", type=int, default=200, help="of the chat view")
    parser.add_argument("--server", choices=["gthread", "runserver"], default="gthread")
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    versions = {
        "old": common.environment("old", arguments.python, OLD),
        "new": common.new_environment(arguments.python),
    }
    runs: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for number in range(arguments.rounds):
        for scenario in SCENARIOS:
            for version, interpreter in versions.items():
                run = measure(interpreter, scenario, arguments)
                runs[scenario, version].append(run)
                print(
                    f"round {number + 1}: {scenario}: {version}: {run['rate']:,.0f}/s, "
                    f"server {run['server_cpu_us']:.1f} us of CPU each",
                    flush=True,
                )
    report(runs, arguments)


def report(
    runs: dict[tuple[str, str], list[dict[str, float]]], arguments: argparse.Namespace
) -> None:
    """Print the medians, and the medians of the rounds' ratios."""
    print(f"\nmedians; {arguments}")
    rows = []
    for scenario in SCENARIOS:
        old, new = (runs[scenario, version] for version in ("old", "new"))
        rates = [common.median(side, "rate") for side in (old, new)]
        costs = [common.median(side, "server_cpu_us") for side in (old, new)]
        rows.append(
            [scenario]
            + [f"{rate:,.0f}" for rate in rates]
            + [f"{common.ratio(new, old, 'rate'):.2f}"]
            + [f"{cost:.1f}" for cost in costs]
        )
    common.table(
        ["messages/s", "old", "new", "new/old", "old CPU us", "new CPU us"], rows
    )
    common.print_others(runs.values())


if __name__ == "__main__":
    main()

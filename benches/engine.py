"""The engine alone, without Python, compared with other Rust WebSocket crates.

Echo servers that differ only in the crate run in turn, round by round. The tables show
the medians of the server's CPU time per message and of messages a second, and the
number of bytes that a reply has on the wire.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import common

PLAIN = [
    "dwebsocket",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "tungstenite",
    "tungstenite-8k",
]
JSON = {"kind": "json", "size": 1024}
SCENARIOS: dict[str, tuple[list[str], dict[str, object]]] = {
    "32 bytes, 1 in flight": (PLAIN, {"size": 32}),
    "32 bytes, 8 in flight": (PLAIN, {"size": 32, "in_flight": 8}),
    "64 KiB, 1 in flight": (PLAIN, {"size": 65536}),
    "JSON of 1 KiB, deflate without takeover": (
        ["dwebsocket-level6", "dwebsocket", "yawc"],
        JSON | {"deflate": "no-takeover"},
    ),
    "JSON of 1 KiB, deflate with takeover": (
        ["dwebsocket-dedicated-level6", "dwebsocket-dedicated", "yawc"],
        JSON | {"deflate": "takeover"},
    ),
}
# The crate with which each scenario is compared.
RATIOS = dict(
    zip(
        SCENARIOS,
        ["fastwebsockets", "yawc", "tokio-websockets", "yawc", "yawc"],
        strict=True,
    )
)
Runs = dict[tuple[str, str], list[dict[str, float]]]


class Process:
    """An echo server of ``benches/engine``."""

    def __init__(
        self,
        binary: str,
        name: str,
        threads: int,
        cpus: str,
        tree: Path = common.ROOT,
    ) -> None:
        """Start the server, and wait until it listens."""
        words = [common.cargo("engine", binary, tree), name, str(threads)]
        self.process = subprocess.Popen(
            common.pinned(words, cpus, 0),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.pid = self.process.pid
        self.address = f"127.0.0.1:{int(self.process.stdout.readline())}"

    def heap(self) -> dict[str, int]:
        """Ask the program ``heap`` for the heap that it holds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        held: dict[str, int] = json.loads(self.process.stdout.readline())
        return held


@contextlib.contextmanager
def running(
    binary: str, name: str, threads: int, cpus: str, tree: Path = common.ROOT
) -> Iterator[Process]:
    """Run an echo server until the block ends."""
    server = Process(binary, name, threads, cpus, tree)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--kind", choices=["binary", "text"], default="binary")
    parser.add_argument("--threads", type=int, default=2, help="of server and client")
    parser.add_argument(
        "--only",
        nargs="*",
        default=sorted({name for names, _ in SCENARIOS.values() for name in names}),
        help="crates",
    )
    parser.add_argument("--scenario", default="", help="a part of the scenario's name")
    arguments = parser.parse_args()
    options: dict[str, object] = {
        name: getattr(arguments, name)
        for name in ("seconds", "warmup", "connections", "kind", "threads")
    }
    runs: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for number in range(arguments.rounds):
        for scenario, (names, more) in SCENARIOS.items():
            if arguments.scenario not in scenario:
                continue
            for name in (name for name in names if name in arguments.only):
                with running(
                    "serve", name, arguments.threads, arguments.cpus
                ) as server:
                    run = common.load(
                        arguments,
                        "echo",
                        server.pid,
                        address=server.address,
                        **(options | more),
                    )
                runs[scenario, name].append(run)
        print(f"round {number + 1} of {arguments.rounds} done", flush=True)
    report(runs)


def report(runs: Runs) -> None:
    """Print every scenario's table, then the ratios."""
    for scenario, (names, _) in SCENARIOS.items():
        if not any(name in names for known, name in runs if known == scenario):
            continue
        print()
        common.table(
            [scenario, "CPU us/message", "messages/s", "bytes", "client us"],
            [
                [
                    name,
                    f"{common.median(runs[scenario, name], 'server_cpu_us'):.2f}",
                    f"{common.median(runs[scenario, name], 'rate'):,.0f}",
                    f"{common.median(runs[scenario, name], 'reply_bytes'):,.0f}",
                    f"{common.median(runs[scenario, name], 'client_cpu_us'):.2f}",
                ]
                for name in names
                if (scenario, name) in runs
            ],
        )
    print()
    rows = []
    for scenario, other in RATIOS.items():
        for name in SCENARIOS[scenario][0]:
            pair = runs.get((scenario, name)), runs.get((scenario, other))
            if name.startswith("dwebsocket") and pair[0] and pair[1]:
                ratio = common.ratio(pair[0], pair[1], "server_cpu_us")
                rows.append([scenario, name, other, f"{ratio:.2f}"])
    common.table(["CPU per message", "this", "by that of", "ratio"], rows)
    common.print_others(runs.values())


if __name__ == "__main__":
    main()

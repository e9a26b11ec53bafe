"""Do open WebSockets slow plain HTTP down? Latency with none and with many.

The server is one gunicorn sync worker. HTTP requests are made one after the other:
with no WebSocket open, then with many WebSockets whose views wait in wait(), in turn.
"""

from __future__ import annotations

import common


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--requests", type=int, default=2_000, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    interpreter = common.new_environment(arguments.python)
    runs: dict[int, list[dict[str, float]]] = {0: [], arguments.connections: []}
    with common.serve(interpreter, "sync", arguments.cpus) as server:
        holder = common.Holder(arguments.cpus, server.address)

        def request(count: int) -> dict[str, float]:
            return common.load(
                arguments,
                "http",
                server.pid,
                address=server.address,
                path="/hello",
                requests=count,
            )

        request(500)
        for _ in range(arguments.rounds):
            for connections, results in runs.items():
                if connections:
                    holder(f"open {connections}")
                    holder("echo")
                common.settled(server.pid)
                results.append(request(arguments.requests))
                if holder("check")["open"] != connections:
                    raise SystemExit("not all connections stayed open")
                holder("close")
        holder.stop()
    report(runs)


def report(runs: dict[int, list[dict[str, float]]]) -> None:
    """Print the medians over the rounds, and the ratio."""
    names = ["median_us", "p90_us", "p99_us"]
    found = {
        connections: [common.median(results, name) for name in names]
        for connections, results in runs.items()
    }
    rows = [
        [f"{connections:,} open", *(f"{figure:,.0f}" for figure in figures)]
        for connections, figures in found.items()
    ]
    none, many = found.values()
    rows.append(["ratio", *(f"{b / a:.3f}" for a, b in zip(none, many, strict=True))])
    common.table(["HTTP latency, us", "median", "p90", "p99"], rows)
    common.print_others(runs.values())


if __name__ == "__main__":
    main()

"""The memory of an open WebSocket while its view waits in wait().

The server is one gunicorn sync worker. The baseline is read after some hundred
connections were opened, used and closed again. Then the connections are only opened;
after that, each echoes one message and becomes idle again. "Each" is the difference to
the baseline divided by the number of connections. The difference contains everything:
Django's request, the view's thread (or task), the engine.
"""

from __future__ import annotations

import time

import common


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--warm", type=int, default=500, help="connections before")
    parser.add_argument(
        "--urls", default="urls", help="async_urls, class_urls", metavar="URLS"
    )
    parser.add_argument("--idle", type=float, default=30, help="seconds of idle CPU")
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    interpreter = common.new_environment(arguments.python)
    serving = common.serve(
        interpreter, "sync", arguments.cpus, BENCH_URLCONF=arguments.urls
    )
    with serving as server:
        holder = common.Holder(arguments.cpus, server.address)
        states = {"before": common.settled(server.pid)}
        holder(f"open {arguments.warm}")
        holder("echo")
        holder("close")
        states["warmed up"] = common.settled(server.pid)
        answer = holder(f"open {arguments.connections}")
        print(f"opened {answer['open']} in {answer['seconds']:.1f} s")
        states["open, idle"] = common.settled(server.pid)
        holder("echo")
        states["after one echo each"] = common.settled(server.pid)
        used = common.cpu_seconds(server.pid)
        time.sleep(arguments.idle)
        used = common.cpu_seconds(server.pid) - used
        answer = holder("check")
        states["still idle"] = common.settled(server.pid)
        holder.stop()
    report(states, arguments.connections)
    print(
        f"{answer['open']} idle connections for {arguments.idle:.0f} s: "
        f"{100 * used / arguments.idle:.2f} % of one processor"
    )


def report(states: dict[str, dict[str, int]], connections: int) -> None:
    """Print the states and what one connection adds."""
    base = states["warmed up"]
    rows = []
    for name, state in states.items():
        each = ["", ""]
        if name not in ("before", "warmed up"):
            each = [
                f"{(state[kind] - base[kind]) / connections / 1024:.1f}"
                for kind in ("rss", "pss")
            ]
        rows.append(
            [name]
            + [f"{state[kind] / 2**20:.1f}" for kind in ("rss", "pss")]
            + each
            + [f"{state[kind]:,}" for kind in ("threads", "fds")]
        )
    heads = ["worker", "RSS MiB", "PSS MiB", "RSS KiB each", "PSS KiB each"]
    common.table([*heads, "threads", "fds"], rows)


if __name__ == "__main__":
    main()

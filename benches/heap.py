"""Heap that an idle connection holds in the engine alone, without Python.

The servers are the echo servers of ``engine.py`` with an allocator that counts. The
baseline is read after some hundred connections were opened, used and closed again.
Then each connection echoes one message of 1 KiB and becomes idle. The figures contain
neither kernel memory of the sockets nor the bookkeeping inside malloc.
"""

from __future__ import annotations

import argparse
import time

import common
from engine import PLAIN, running

OFFERS = {
    "no compression": "",
    "deflate": "permessage-deflate",
    "deflate, no takeover": "permessage-deflate; server_no_context_takeover; "
    "client_no_context_takeover",
}


def each(before: dict[str, int], now: dict[str, int], connections: int) -> str:
    """Return the growth per connection, as text."""
    size, blocks = (
        (now[kind] - before[kind]) / connections for kind in ("bytes", "blocks")
    )
    return f"{size:,.0f} ({blocks:.1f})"


def measure(name: str, offer: str, arguments: argparse.Namespace) -> list[str]:
    """Return a connection's heap just opened, after an echo, and idle again."""
    cpus, connections = arguments.cpus, arguments.connections
    with running("heap", name, 2, cpus) as server:
        more = ["--extensions", offer, "--kind", "json", "--size", "1024"]
        holder = common.Holder(cpus, server.address, "/", *more)
        holder(f"open {arguments.warm}")
        holder("echo")
        holder("close")
        time.sleep(arguments.settle)
        before = server.heap()
        holder(f"open {connections}")
        time.sleep(arguments.settle)
        opened = server.heap()
        holder("echo")
        time.sleep(arguments.settle)
        echoed = server.heap()
        time.sleep(arguments.idle)
        idle = server.heap()
        if holder("check")["open"] != connections:
            raise SystemExit("not all connections stayed open")
        holder.stop()
    return [each(before, now, connections) for now in (opened, echoed, idle)]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--warm", type=int, default=300, help="connections before")
    parser.add_argument("--settle", type=float, default=2, help="seconds to settle")
    parser.add_argument("--idle", type=float, default=45, help="seconds of idleness")
    parser.add_argument("--only", nargs="*", help="crates")
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    rows = []
    for name in arguments.only or ["dwebsocket", "dwebsocket-dedicated", *PLAIN[1:]]:
        compresses = name.startswith("dwebsocket") or name == "yawc"
        for offer in OFFERS if compresses else ["no compression"]:
            rows.append([name, offer, *measure(name, OFFERS[offer], arguments)])
    print("\nbytes (blocks) of heap for each connection")
    common.table(["", "offered", "just opened", "after one echo", "idle"], rows)


if __name__ == "__main__":
    main()

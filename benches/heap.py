"""Heap that an idle connection holds in the engine alone, without Python.

The echo servers of ``engine.py`` with an allocator that counts. The baseline is read
after some hundred connections were opened, used and closed again. Kernel memory of the
sockets is not in it, nor is anybody's bookkeeping inside malloc.
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
    """Return the growth by the number of connections, as text."""
    size, blocks = (
        (now[kind] - before[kind]) / connections for kind in ("bytes", "blocks")
    )
    return f"{size:,.0f} ({blocks:.1f})"


def measure(name: str, offer: str, arguments: argparse.Namespace) -> list[str]:
    """Return what a connection holds when just opened, and idle after an echo."""
    cpus, connections = arguments.cpus, arguments.connections
    with running("heap", name, 2, cpus) as server:
        holder = common.Holder(cpus, server.address, extensions=offer)
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
        idle = server.heap()
        if holder("check")["open"] != connections:
            raise SystemExit("not all connections stayed open")
        holder.stop()
    return [each(before, opened, connections), each(before, idle, connections)]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--warm", type=int, default=300, help="connections before")
    parser.add_argument("--settle", type=float, default=3, help="idle seconds")
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    rows = []
    for name in ["dwebsocket", "dwebsocket-dedicated", *PLAIN[1:]]:
        compresses = name.startswith("dwebsocket") or name == "yawc"
        for offer in OFFERS if compresses else ["no compression"]:
            rows.append([name, offer, *measure(name, OFFERS[offer], arguments)])
    print("\nbytes (blocks) of heap for each connection")
    common.table(["", "offered", "just opened", "idle after one echo"], rows)


if __name__ == "__main__":
    main()

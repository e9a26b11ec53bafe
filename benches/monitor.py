"""What a scrape of the metrics costs, and what a neighbour notices of it.

The server is one gunicorn gthread worker with many idle connections. A neighbour sends
a message, waits for its echo, pauses for a millisecond, and repeats: first alone, then
while the metrics are scraped again and again, and while a plain page is fetched as
often. The cost of a scrape is the processor time of its view, all processes included
that it asks: here there is one.
"""

from __future__ import annotations

import argparse
import http.client
import math
import socket
import statistics
import threading
import time
from pathlib import Path

import common
from floods import FIN, TEXT, connect, frame

#: Seconds between two scrapes.
PAUSE = 0.1

MESSAGE = frame(FIN | TEXT, b"n" * 32)
ANSWER = b"\x81 " + b"n" * 32


def fetch(port: int, path: str) -> tuple[float, float]:
    """Fetch a page; return the seconds that it took, and the view's milliseconds."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.perf_counter()
    client.request("GET", path, headers={"Accept": "application/openmetrics-text"})
    response = client.getresponse()
    body = response.read()
    took = time.perf_counter() - began
    client.close()
    if response.status != 200 or not body:
        raise SystemExit(f"{path}: {response.status}")
    return took, float(response.headers["X-Cost"])


def echoes(line: socket.socket, seconds: float) -> list[float]:
    """Return the times of echoes."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        line.sendall(MESSAGE)
        received = b""
        while len(received) < len(ANSWER):
            received += line.recv(4096)
        times.append(time.perf_counter() - began)
        time.sleep(0.001)
    return sorted(times)


def measure(
    server: common.Server, line: socket.socket, path: str | None, seconds: float
) -> dict[str, float]:
    """Measure the neighbour while a page is fetched again and again, or none is."""
    port = int(server.address.split(":")[1])
    took: list[float] = []
    over = threading.Event()

    def scrape() -> None:
        while path is not None and not over.wait(PAUSE):
            took.append(fetch(port, path)[0])

    scraper = threading.Thread(target=scrape)
    scraper.start()
    times = echoes(line, seconds)
    over.set()
    scraper.join()
    return {
        "took": 1e3 * sorted(took)[len(took) // 2] if took else math.nan,
        "p50": 1e3 * times[len(times) // 2],
        "p99": 1e3 * times[int(len(times) * 0.99)],
        "max": 1e3 * times[-1],
    }


def cost(server: common.Server, path: str, number: int) -> float:
    """Return the milliseconds of processor time of one view, the median of several."""
    port = int(server.address.split(":")[1])
    fetch(port, path)
    return statistics.median(fetch(port, path)[1] for _ in range(number))


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=6, help="for each part")
    parser.add_argument("--scrapes", type=int, default=50, help="for the cost")
    parser.add_argument(
        "--interpreter", type=Path, help="a Python that has everything; builds nothing"
    )
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    run(arguments, arguments.interpreter or common.new_environment(arguments.python))


def run(arguments: argparse.Namespace, interpreter: Path) -> None:
    """Measure with one server."""
    with common.serve(
        interpreter.absolute(),
        "gthread",
        arguments.cpus,
        BENCH_URLCONF="monitor_urls",
    ) as server:
        port = int(server.address.split(":")[1])
        few = {path: cost(server, path, arguments.scrapes) for path in PAGES}
        idle = [connect(port, "/echo", False) for _ in range(arguments.connections)]
        line = connect(port, "/echo", False)
        many = {path: cost(server, path, arguments.scrapes) for path in PAGES}
        common.table(
            ["page", "ms, no connection", f"ms, {len(idle):,} connections"],
            [[path, f"{few[path]:.2f}", f"{many[path]:.2f}"] for path in PAGES],
        )
        parts = {
            path or "nothing": measure(server, line, path, arguments.seconds)
            for path in (None, *PAGES)
        }
        alone = parts["nothing"]
        common.table(
            ["meanwhile", "page ms", "p50 ms", "p99 ms", "max ms", "p99 ratio"],
            [
                [name]
                + [f"{part[key]:.2f}" for key in ("took", "p50", "p99", "max")]
                + [f"{part['p99'] / alone['p99']:.2f}"]
                for name, part in parts.items()
            ],
        )
        for one in (line, *idle):
            one.close()


PAGES = ("/hello", "/metrics")

if __name__ == "__main__":
    main()

"""The cost of floods for neighbours: the latency of an echo while others flood.

The server is one gunicorn gthread worker. A neighbour sends a message, waits for its
echo, pauses for a millisecond, and repeats. Meanwhile two clients flood the same worker
as fast as they can, with each kind of flood in turn. Every client is a process of its
own. When the server has cut a flooder off, the flooder connects again at once.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import math
import multiprocessing
import os
import select
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import common

#: Bytes that a flooder passes to its socket at once.
PORTION = 256 * 1024

#: The share of the time of each kind that passes before anything is counted.
WARM_UP = 0.2

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
FIN, COMPRESSED = 0x80, 0x40


def frame(first: int, payload: bytes = b"") -> bytes:
    """Return a frame; its mask is a key of zeros, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


def deflated(payload: bytes) -> bytes:
    """Return a payload compressed for permessage-deflate, without a context."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4]


def fragments(payload: bytes, count: int, text: int = TEXT) -> bytes:
    """Return a message of ``count`` fragments with the same payload."""
    middle = frame(CONTINUATION, payload) * (count - 2)
    return frame(text, payload) + middle + frame(FIN | CONTINUATION, payload)


@dataclass(frozen=True)
class Flood:
    """A kind of flood."""

    path: str
    #: The bytes that are sent again and again.
    unit: bytes
    #: The bytes that are sent once before the unit.
    first: bytes = b""
    reads: bool = False
    deflate: bool = False


FLOODS: dict[str, Flood] = {
    "pings": Flood("/echo", frame(FIN | PING)),
    "pings, reading": Flood("/echo", frame(FIN | PING, b"p" * 8), reads=True),
    "pings of 125 bytes": Flood("/echo", frame(FIN | PING, b"p" * 125)),
    "pongs": Flood("/echo", frame(FIN | PONG)),
    "empty fragments": Flood("/discard", frame(CONTINUATION), first=frame(TEXT, b"a")),
    "one-byte fragments": Flood("/discard", fragments(b"a", 10_000)),
    "pings within a message": Flood(
        "/discard", frame(FIN | PING), first=frame(TEXT, b"a")
    ),
    "tiny text, discarded": Flood("/discard", frame(FIN | TEXT, b"a")),
    "tiny text, worked on": Flood("/think", frame(FIN | TEXT, b"a")),
    "tiny text, echoed": Flood("/echo", frame(FIN | TEXT, b"a"), reads=True),
    "tiny text, not read": Flood("/echo", frame(FIN | TEXT, b"a")),
    "empty text, discarded": Flood("/discard", frame(FIN | TEXT)),
    "tiny compressed": Flood(
        "/discard", frame(FIN | COMPRESSED | TEXT, deflated(b"a")), deflate=True
    ),
    "inflates to 1 MiB": Flood(
        "/discard",
        frame(FIN | COMPRESSED | BINARY, deflated(bytes(1 << 20))),
        deflate=True,
    ),
    "large messages": Flood("/discard", frame(FIN | BINARY, bytes(1 << 20))),
    "after our Close": Flood("/bye", frame(FIN | TEXT, b"a")),
    "after its own Close": Flood(
        "/discard", frame(FIN | TEXT, b"a"), first=frame(FIN | CLOSE, b"\x03\xe8")
    ),
    "after a wrong frame": Flood("/discard", frame(FIN | PING), first=frame(0xF3)),
    "takes a download": Flood("/download", b"", reads=True),
}


def connect(port: int, path: str, deflate: bool, more: str = "") -> socket.socket:
    """Open a WebSocket; ``more`` are lines of its request's head."""
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    extensions = (
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
        if deflate
        else ""
    )
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Version: 13\r\n{extensions}{more}\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(1)
        if not data:
            raise ConnectionError("closed during the handshake")
        head += data
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head.decode("latin-1"))
    return client


def flood(port: int, kind: str, seconds: float, answer: Connection) -> None:
    """Flood for some time; send back the bytes that passed and the connections made."""
    chosen = FLOODS[kind]
    unit = chosen.unit * max(1, PORTION // max(1, len(chosen.unit)))
    end = time.monotonic() + seconds
    passed = connections = 0
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            client = connect(port, chosen.path, chosen.deflate)
            connections += 1
            with client:
                client.sendall(chosen.first)
                passed += pump(client, unit, chosen.reads, end)
    answer.send((passed, connections))


def pump(client: socket.socket, unit: bytes, reads: bool, end: float) -> int:
    """Send a unit again and again until the end, or until the server cuts it off."""
    client.setblocking(False)
    passed, rest = 0, memoryview(unit)
    to_read = [client] if reads else []
    to_write = [client] if unit else []
    while time.monotonic() < end:
        readable, writable, _ = select.select(to_read, to_write, [], 0.1)
        try:
            if readable:
                data = client.recv(PORTION)
                if not data:
                    return passed
                passed += 0 if unit else len(data)
            if writable:
                sent = client.send(rest)
                passed += sent
                rest = rest[sent:] or memoryview(unit)
        except BlockingIOError:
            pass
        except OSError:
            return passed
    return passed


def neighbour(port: int, seconds: float, answer: Connection) -> None:
    """Echo one message after the other; send back the seconds that each one took."""
    client = connect(port, "/echo", deflate=False)
    message = frame(FIN | TEXT, b"n" * 32)
    expected = b"\x81 " + b"n" * 32
    start = time.monotonic()
    times = []
    while time.monotonic() < start + seconds:
        began = time.perf_counter()
        client.sendall(message)
        received = b""
        while len(received) < len(expected):
            client.settimeout(60)
            received += client.recv(4096) or sys.exit("the neighbour was cut off")
        if received != expected:
            sys.exit("the neighbour got something else")
        if time.monotonic() > start + WARM_UP * seconds:
            times.append(time.perf_counter() - began)
        time.sleep(0.001)
    answer.send(times)


def apart(
    cpus: str, work: Callable[..., None], *arguments: object
) -> tuple[multiprocessing.Process, Connection]:
    """Run a client in a process of its own, on the clients' processors."""
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        if cpus != "none":
            os.sched_setaffinity(0, set(map(int, cpus.split(":")[1].split(","))))
        work(*arguments, theirs)

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    return process, ours


def measure(
    arguments: argparse.Namespace, server: common.Server, kind: str | None
) -> dict[str, float]:
    """Measure the neighbour's latency during one kind of flood, or during none."""
    port = int(server.address.split(":")[1])
    seconds = arguments.seconds
    with common.Others(server.pid) as others:
        before = common.cpu_seconds(server.pid)
        started = time.monotonic()
        flooders = [
            apart(arguments.cpus, flood, port, kind, seconds)
            for _ in range(arguments.flooders if kind else 0)
        ]
        quiet = apart(arguments.cpus, neighbour, port, seconds)
        times = sorted(received(quiet, seconds + 120))
        cpu = common.cpu_seconds(server.pid) - before
        elapsed = time.monotonic() - started
        passed = [received(flooder, 30) for flooder in flooders]
    if not times:
        raise SystemExit(f"{kind}: no echo came in time")

    def quantile(share: float) -> float:
        return times[max(0, math.ceil(len(times) * share) - 1)] * 1e3

    return {
        "rate": sum(bytes_ for bytes_, _ in passed) / seconds / 1e6,
        "again": sum(connections for _, connections in passed) - len(passed),
        "p50": quantile(0.5),
        "p99": quantile(0.99),
        "max": quantile(1),
        "cpu": cpu / elapsed,
        "rss": common.state(server.pid)["rss"] / (1 << 20),
        "others": others.processors,
    }


def received(client: tuple[multiprocessing.Process, Connection], limit: float):
    """Return the result that a client sends back."""
    process, pipe = client
    if not pipe.poll(limit):
        raise SystemExit("a client does not come to an end")
    answer = pipe.recv()
    process.join(10)
    return answer


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="for each kind")
    parser.add_argument("--flooders", type=int, default=2, help="clients that flood")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--only", action="append", choices=list(FLOODS), help="kinds; all if not given"
    )
    parser.add_argument(
        "--interpreter", type=Path, help="a Python that has everything; builds nothing"
    )
    arguments = parser.parse_args()
    interpreter = arguments.interpreter or common.new_environment(arguments.python)
    kinds = [None, *(arguments.only or FLOODS)]
    runs: dict[str | None, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for kind, results in runs.items():
            # A fresh server for each kind, so that no flood affects the next.
            with common.serve(
                interpreter.absolute(),
                "gthread",
                arguments.cpus,
                BENCH_URLCONF="flood_urls",
            ) as server:
                results.append(measure(arguments, server, kind))
                print(f"{kind or 'none'}: p99 {results[-1]['p99']:.2f} ms", flush=True)
    report(runs)


def report(runs: dict[str | None, list[dict[str, float]]]) -> None:
    """Print the medians over the rounds, and the ratio to no flood."""
    rows = []
    for kind, results in runs.items():
        figures = {name: common.median(results, name) for name in results[0]}
        rows.append(
            [
                kind or "none",
                f"{figures['rate']:,.2f}",
                f"{figures['again']:,.0f}",
                f"{figures['p50']:.2f}",
                f"{figures['p99']:.2f}",
                f"{figures['max']:.2f}",
                f"{common.ratio(results, runs[None], 'p50'):.2f}",
                f"{common.ratio(results, runs[None], 'p99'):.2f}",
                f"{figures['cpu']:.2f}",
                f"{figures['rss']:.0f}",
            ]
        )
    heads = ["flood", "MB/s", "cut off", "p50 ms", "p99 ms", "max ms"]
    heads += ["p50 ratio", "p99 ratio", "server CPU", "RSS MiB"]
    common.table(heads, rows)
    common.print_others(runs.values())


if __name__ == "__main__":
    main()

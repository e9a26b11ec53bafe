"""What arrives on a WebSocket concerns neither the server's threads nor its loop."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from . import frames
from .client import WsClient
from .harness import Server
from .reports import Channel
from .specs import SPECS

everywhere = pytest.mark.parametrize("server", SPECS, indirect=True)
# A loop of gevent reads for its views, and may well be woken.
in_threads = pytest.mark.parametrize(
    "server", [name for name, spec in SPECS.items() if not spec.gevent], indirect=True
)
# A relay has the client's socket in another process than the view.
direct = pytest.mark.parametrize(
    "server", [name for name, spec in SPECS.items() if not spec.relayed], indirect=True
)


def _python_threads(worker: psutil.Process) -> Iterator[Path]:
    """Yield the directories of the worker's threads less those of the engine."""
    for thread in Path(f"/proc/{worker.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            if not (thread / "comm").read_text().startswith("dwebsocket"):
                yield thread


def _wakeups(worker: psutil.Process, view: int) -> int:
    """Return how often the server's threads have gone to sleep so far.

    A view's own thread reads for the engine while it waits, outside of the interpreter.
    """
    total = 0
    for thread in _python_threads(worker):
        if thread.name == str(view):
            continue
        with contextlib.suppress(FileNotFoundError):
            status = (thread / "status").read_text()
            total += int(status.split("voluntary_ctxt_switches:")[1].split()[0])
    return total


@in_threads
def test_traffic_that_is_the_engines_wakes_no_thread_of_the_server(
    server: Server, report: Channel
):
    client = server.open(f"/hold?key={report.key}")
    view = report.expect("open")
    worker = server.worker()
    before = _wakeups(worker, view)
    start = time.monotonic()
    for number in range(2000):
        client.frame(frames.PING, str(number).encode())
        assert client.read_frame() == frames.Frame(frames.PONG, str(number).encode())
    # Servers that look around once a second, or ten times, may go on doing so.
    ticks = (time.monotonic() - start) * 25 + 50
    assert _wakeups(worker, view) - before < min(ticks, 1000)
    client.close()


@direct
def test_only_the_engine_looks_at_the_socket_of_a_websocket(
    server: Server, report: Channel
):
    client = server.open(f"/hold?key={report.key}")
    report.expect("open")
    worker = server.worker()
    [fd] = [
        connection.fd
        for connection in worker.net_connections("tcp")
        if connection.raddr == client.sock.getsockname()
    ]
    inode = (Path("/proc") / str(worker.pid) / "fd" / str(fd)).readlink()
    wanted = f"ino:{int(inode.name[len('socket:[') : -1]):x}"
    lookers = set()
    for info in (Path("/proc") / str(worker.pid) / "fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            text = info.read_text()
            # An instance may have several descriptors, with the same sockets.
            if wanted in text.split():
                lookers.add(text[text.index("tfd:") :])
    # The poller. The runtime looks at a socket once it is full; the server must not.
    assert len(lookers) == 1, lookers
    client.close()


def _processor_seconds(worker: psutil.Process) -> float:
    """Return the processor time of the worker's Python threads so far."""
    total = 0
    for thread in _python_threads(worker):
        with contextlib.suppress(FileNotFoundError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


@everywhere
def test_messages_that_nobody_reads_do_not_spin_the_server(
    server: Server, report: Channel
):
    client = server.open(f"/deaf?key={report.key}")
    report.expect("open")
    worker = server.worker()
    _fill(client)
    before = _processor_seconds(worker)
    start = time.monotonic()
    while time.monotonic() - start < 1:
        time.sleep(0.1)  # the measurement itself
    elapsed = time.monotonic() - start
    assert _processor_seconds(worker) - before < 0.2 * elapsed
    assert server.get("/ping").body == b"pong"
    server.get(f"/release?key={report.key}")
    report.expect("end")
    client.drop()


def _fill(client: WsClient) -> None:
    """Send until the server has stopped reading and every buffer is full."""
    frame = frames.encode(frames.BINARY, b"x" * 65536)
    client.sock.settimeout(0.5)
    with contextlib.suppress(socket.timeout):
        for _ in range(4000):
            client.sendall(frame)
        raise AssertionError("250 MB are nowhere, but not refused")
    client.sock.settimeout(20)

"""Open WebSockets cost the site nothing that HTTP needs."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Iterator

import pytest

from .client import eventually
from .harness import Server
from .pool import Pool
from .reports import Channel

#: Raised to 5,000 by hand; the ordinary run must do on small machines.
SOCKETS = int(os.environ.get("SERVERS_SOCKETS", "200"))

ONE_OF_EACH_RUNNER = ["gunicorn-sync", "gunicorn-gevent"]
ONE_OF_EACH_KIND = [*ONE_OF_EACH_RUNNER, "gunicorn-gthread", "waitress"]


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Allow this process, and its children, as many open files as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SOCKETS * 2 + 200:
        pytest.skip(f"{SOCKETS} sockets need more than {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _seconds(server: Server, count: int = 30) -> float:
    """Return the median time of a request."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        assert server.get("/ping").body == b"pong"
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@pytest.mark.parametrize("spec", ONE_OF_EACH_KIND)
@pytest.mark.timeout(300)
def test_http_is_as_fast_with_many_waiting_views_as_with_none(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec)
    before = _seconds(server)
    clients = [server.open(f"/hold?key={report.key}") for _ in range(SOCKETS)]
    for _ in clients:
        report.expect("open")
    during = _seconds(server)
    # Medians of a few milliseconds, on a machine that others use as well.
    assert during < before * 2 + 0.01, f"{before:.4f} s before, {during:.4f} s with"
    for number in (0, SOCKETS // 2, SOCKETS - 1):
        clients[number].send("awake?")
        assert clients[number].receive() == "awake?"
    for client in clients:
        client.drop()
    for _ in clients:
        report.expect("end")


@pytest.mark.parametrize("spec", ONE_OF_EACH_RUNNER)
@pytest.mark.timeout(300)
def test_threads_descriptors_and_memory_come_back(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec)
    worker = server.worker()

    def cycle() -> None:
        clients = [server.open(f"/hold?key={report.key}") for _ in range(SOCKETS)]
        for client in clients:
            report.expect("open")
            client.drop()
        for _ in clients:
            report.expect("end")

    # The first cycles fill the allocator's and the interpreter's own stores; from about
    # the seventh on, memory stays as it is.
    for _ in range(8):
        cycle()
    eventually(lambda: worker.num_fds() < SOCKETS)
    threads, files = worker.num_threads(), worker.num_fds()
    memory = worker.memory_info().rss
    for _ in range(5):
        cycle()
    eventually(
        lambda: worker.num_threads() <= threads + 1 and worker.num_fds() <= files,
        what=f"{threads} threads, {files} files before",
    )
    assert worker.memory_info().rss < memory * 1.05 + 2 * 1024 * 1024

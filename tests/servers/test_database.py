"""Views that live for hours keep no database connection while they wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import postgres
from .client import eventually
from .fixtures import migrate
from .harness import Server
from .pool import Pool

VIEWS = 200
HANDFUL = 8
#: How long a connection that may be kept is kept, and time to notice.
PATIENCE = 40

specs = pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gevent"])
ages = pytest.mark.parametrize("age", [0, None], ids=["closed", "kept"])


def _two_hundred_idle_views(server: Server) -> list[Any]:
    clients = [server.open("/query") for _ in range(VIEWS)]
    for client in clients:
        assert client.receive() == "42"
    return clients


def _all_query_again(clients: list[Any]) -> None:
    for client in clients:
        client.send("again")
        assert client.receive() == "42"


def _open_files(pid: int, path: Path) -> int:
    """Return how many descriptors a process has of a file."""
    count = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(entry.path) == str(path)
        except FileNotFoundError:
            continue
    return count


@specs
@ages
@pytest.mark.timeout(180)
def test_idle_views_keep_no_sqlite_connection(
    pool: Pool, tmp_path: Path, spec: str, age: int | None
):
    path = tmp_path / "idle.sqlite3"
    migrate(path)
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "CONN_MAX_AGE": age,
    }
    server = pool.fresh(spec, settings={"DATABASES": {"default": database}})
    pid = server.worker().pid
    clients = _two_hundred_idle_views(server)
    eventually(lambda: _open_files(pid, path) <= HANDFUL, PATIENCE)
    _all_query_again(clients)
    eventually(lambda: _open_files(pid, path) <= HANDFUL, PATIENCE)
    for client in clients:
        client.drop()
    eventually(lambda: _open_files(pid, path) <= 1, PATIENCE)
    assert server.errors() == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    """Return a running PostgreSQL."""
    directory = postgres.programs()
    if directory is None:
        pytest.skip("PostgreSQL's server programs (initdb, pg_ctl) are not installed")
    running = postgres.Cluster(directory)
    running.start()
    yield running
    running.stop()


@specs
@ages
@pytest.mark.timeout(180)
def test_idle_views_keep_no_postgresql_connection(
    pool: Pool, cluster: postgres.Cluster, spec: str, age: int | None
):
    database = cluster.database(CONN_MAX_AGE=age)
    server = pool.fresh(spec, settings={"DATABASES": {"default": database}})
    clients = _two_hundred_idle_views(server)
    eventually(lambda: cluster.connections() <= HANDFUL, PATIENCE)
    _all_query_again(clients)
    eventually(lambda: cluster.connections() <= HANDFUL, PATIENCE)
    for client in clients:
        client.drop()
    eventually(lambda: cluster.connections() <= 1, PATIENCE)
    assert server.errors() == []


@specs
def test_a_transaction_keeps_its_connection_through_wait(
    pool: Pool, cluster: postgres.Cluster, spec: str
):
    database = cluster.database(CONN_MAX_AGE=0)
    server = pool.fresh(spec, settings={"DATABASES": {"default": database}})
    client = server.open("/transaction")
    backend = client.receive()
    assert cluster.connections() >= 1
    client.send("still the same?")
    assert client.receive() == backend
    client.send("end of the transaction")
    assert client.receive() == "committed"
    client.close()
    eventually(lambda: cluster.connections() == 0)
    assert server.errors() == []


@pytest.mark.parametrize("kind", ["sync", "task"])
@pytest.mark.parametrize(
    "spec", ["gunicorn-gthread", "gunicorn-gevent", "uvicorn", "uvicorn-queue"]
)
def test_a_view_that_accepts_by_hand_leaves_the_request_its_transaction(
    pool: Pool, cluster: postgres.Cluster, spec: str, kind: str
):
    database = cluster.database(CONN_MAX_AGE=0, ATOMIC_REQUESTS=True)
    server = pool.fresh(spec, settings={"DATABASES": {"default": database}})
    clients = [server.open(f"/deciding/{kind}/backends") for _ in range(5)]
    for client in clients:
        before, inside = str(client.receive()).split()
        after, outside = str(client.receive()).split()
        assert before != after
        assert (inside, outside) == ("True", "False")
    eventually(lambda: cluster.connections() == 0)
    for client in clients:
        client.send("again")
        assert str(client.receive()).endswith("False")
        client.drop()
    eventually(lambda: cluster.connections() == 0)
    assert server.errors() == []

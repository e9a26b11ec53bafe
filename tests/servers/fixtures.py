"""Fixtures that the black-box tests share; both of their conftests import them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import PYTHON, ROOT, Server
from .pool import Pool
from .reports import Channel, Reports


def make_report(item: pytest.Item, report: Any) -> Any:
    """Show the servers' logs with a failure."""
    pool = getattr(item, "funcargs", {}).get("pool")
    if report.failed and pool is not None:
        for server in pool.running():
            report.sections.append((f"log of {server.log}", server.text()[-8000:]))
    return report


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reports]:
    """Receive what views report."""
    receiver = Reports(tmp_path_factory.mktemp("reports"))
    yield receiver
    receiver.close()


@pytest.fixture
def report(request: pytest.FixtureRequest, reports: Reports) -> Channel:
    """Return this test's own channel of reports; see :data:`.scripting.kinds`."""
    channel = reports.channel()
    if getattr(request, "param", "def") == "async def":
        channel.prefix = "/aio"
    return channel


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite database with Django's tables."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    migrate(path)
    return path


def migrate(path: Path) -> None:
    """Make Django's tables in an SQLite file."""
    subprocess.run(
        [PYTHON, "-m", "django", "migrate", "--verbosity=0", "--run-syncdb"],
        cwd=ROOT,
        check=True,
        timeout=60,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
            "PYTHONPATH": str(ROOT),
            "SITE_DATABASE": str(path),
        },
    )


@pytest.fixture(scope="session")
def shared_pool(
    tmp_path_factory: pytest.TempPathFactory, reports: Reports, database: Path
) -> Iterator[Pool]:
    """Run servers for the whole session."""
    env = {"SITE_REPORTS": reports.path, "SITE_DATABASE": str(database)}
    pool = Pool(tmp_path_factory.mktemp("servers"), env)
    yield pool
    pool.close()


@pytest.fixture
def pool(shared_pool: Pool) -> Iterator[Pool]:
    """Start servers; those of this test only are killed after it."""
    yield shared_pool
    shared_pool.end_test()


@pytest.fixture
def server(request: pytest.FixtureRequest, pool: Pool) -> Iterator[Server]:
    """Return a shared server by the parameter; its log must stay without errors."""
    running = pool.get(request.param)
    yield running
    _check(running)


@pytest.fixture
def variant(pool: Pool) -> Iterator[Callable[..., Server]]:
    """Return a function for shared servers with other settings, checked likewise."""
    used: list[Server] = []

    def get(spec: str, **options: Any) -> Server:
        used.append(pool.get(spec, **options))
        return used[-1]

    yield get
    for running in used:
        _check(running)


def _check(server: Server) -> None:
    errors = server.errors()
    assert not errors, "\n".join(errors)
    assert server.process.poll() is None, "the server has gone"

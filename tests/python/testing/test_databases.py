"""The project's tests on each database: see project/cases.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import postgres

SQLITE = "django.db.backends.sqlite3"


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    programs = postgres.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    found = postgres.Cluster(programs)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def run(database: dict[str, Any]) -> None:
    program = "import sys; from django.core.management import main; main()"
    program = "from django.core.management import execute_from_command_line as run; "
    program += "import sys; run(sys.argv)"
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error::ResourceWarning", "-c", program, "test"),
            *("tests.python.testing.project", "-p", "cases.py"),
        ],
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "tests.python.testing.project.settings",
            "TESTING_DATABASE": json.dumps(database),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK" in done.stderr


@pytest.mark.timeout(700)
def test_sqlite_in_memory() -> None:
    run({"ENGINE": SQLITE, "NAME": ":memory:"})


@pytest.mark.timeout(700)
def test_sqlite_in_a_file(tmp_path: Path) -> None:
    file = str(tmp_path / "test.sqlite3")
    run({"ENGINE": SQLITE, "NAME": "", "TEST": {"NAME": file}})


@pytest.mark.timeout(700)
def test_postgresql(cluster: postgres.Cluster) -> None:
    run(cluster.database())
    assert cluster.connections() == 0

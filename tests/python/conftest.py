"""A database that the threads of a live site see, too; the threads of earlier views."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.local import Local
from django.core.management import call_command
from django.db import connections

from dwebsocket.runners import threads


@contextlib.contextmanager
def database(file: Path) -> Iterator[None]:
    """Have each thread open connections to a database in a file.

    A thread that lives on, as asgiref's do, must not find its connection to the
    database of an earlier test: all connections from before are out of sight.
    """
    options = connections.settings["default"]
    before = dict(options)
    handler: Any = connections
    hidden = handler._connections
    handler._connections = Local(handler.thread_critical)
    options["NAME"] = str(file)
    try:
        yield
    finally:
        connections.close_all()
        options.clear()
        options.update(before)
        handler._connections = hidden


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, django_db_blocker) -> Path:
    file = tmp_path_factory.mktemp("database") / "empty.sqlite3"
    with django_db_blocker.unblock(), database(file):
        call_command("migrate", verbosity=0)
    return file


@pytest.fixture
def tables(empty_database: Path, tmp_path: Path, django_db_blocker) -> Iterator[None]:
    """Give the test a database of its own, with all tables.

    In a file, a query waits for the locks of other threads. Django's test database in
    memory has one cache for all threads, where SQLite fails at once: "table is locked".
    """
    file = tmp_path / "db.sqlite3"
    shutil.copy(empty_database, file)
    with django_db_blocker.unblock(), database(file):
        yield


@pytest.fixture
def no_spare_threads() -> None:
    """End the threads that have run a view and wait for another one."""
    with contextlib.suppress(IndexError):
        while True:
            threads.runner._parked.pop().call(None)

"""Fixtures: those of the server tests, and a program that forks when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.servers.client import WsClient
from tests.servers.fixtures import (
    database,
    make_report,
    pool,
    report,
    reports,
    shared_pool,
)
from tests.servers.harness import PYTHON, ROOT
from tests.servers.reports import Channel, Reports

__all__ = ("database", "pool", "report", "reports", "shared_pool")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Show the servers' logs with a failure."""
    return make_report(item, (yield))


class Program:
    """``tests.fork.prefork``: a small server that forks on SIGUSR1."""

    def __init__(self, report: Channel, env: dict[str, str]) -> None:
        self._report = report
        self._pids: list[int] = []
        self._clients: list[WsClient] = []
        self.process = subprocess.Popen(
            [PYTHON, "-m", "tests.fork.prefork", report.key],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid, self.port = self._serving()

    def _serving(self) -> tuple[int, int]:
        pid, port = self._report.expect("serving")
        self._pids.append(pid)
        return pid, port

    def fork(self, pid: int | None = None) -> tuple[int, int]:
        """Have a process fork; return the child's id and port."""
        os.kill(pid or self.pid, signal.SIGUSR1)
        return self._serving()

    def open(self, port: int, path: str = "/echo") -> WsClient:
        """Return a client of one of the processes, past its handshake."""
        client = WsClient(("127.0.0.1", port))
        self._clients.append(client)
        client.open(path)
        return client

    def end(self, pid: int) -> int:
        """Have a child end by itself; return its status, as its parent saw it."""
        os.kill(pid, signal.SIGTERM)
        found, status = self._report.expect("ended")
        assert found == pid
        return int(status)

    def stop(self) -> tuple[int, str]:
        """Have the first process end; return its status and what it complained of."""
        os.kill(self.pid, signal.SIGTERM)
        status = self.process.wait(20)
        return status, self.kill()

    def kill(self) -> str:
        """Make sure that nothing is left; return what was complained of."""
        for client in self._clients:
            client.drop()
        family = []
        for pid in self._pids:
            try:
                family.append(psutil.Process(pid))
            except psutil.NoSuchProcess:
                continue
        for process in family:
            if os.path.basename(PYTHON)[:6] in process.name():
                process.kill()
        self.process.wait(20)
        assert self.process.stderr is not None
        if self.process.stderr.closed:
            return ""
        with self.process.stderr as stream:
            return stream.read().decode()


@pytest.fixture
def program(
    reports: Reports, report: Channel, database: Any
) -> Iterator[Callable[[], Program]]:
    """Return a function that starts the program."""
    running: list[Program] = []
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
        "SITE_REPORTS": reports.path,
        "SITE_DATABASE": str(database),
    }

    def start(**more: str) -> Program:
        running.append(Program(report, {**env, **more}))
        return running[-1]

    yield start
    for each in running:
        each.kill()

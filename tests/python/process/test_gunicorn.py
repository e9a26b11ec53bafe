from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dwebsocket.process import exit, gunicorn


class Worker:
    """Stands for gunicorn's base class; tests/servers has the real one."""

    def __init__(self, workers=2):
        self.alive = True
        self.nr, self.max_requests = 0, 5
        self.cfg = SimpleNamespace(workers=workers)

    def handle(self):
        return gunicorn.worker()


@pytest.fixture(autouse=True)
def _gunicorn(monkeypatch):
    monkeypatch.setattr(gunicorn, "_found", None)
    base = SimpleNamespace(Worker=Worker)
    monkeypatch.setitem(sys.modules, "gunicorn.workers.base", base)


def test_another_server_has_no_worker(monkeypatch):
    monkeypatch.delitem(sys.modules, "gunicorn.workers.base")
    worker = Worker()
    assert worker.handle() is None
    assert not gunicorn.is_ending()
    assert not gunicorn.has_served_enough()
    assert not exit.stopping()


def test_the_worker_is_found_on_the_stack_and_kept():
    worker = Worker()
    assert gunicorn.worker() is None
    assert worker.handle() is worker
    assert gunicorn.worker() is worker


def test_a_forked_child_looks_anew(monkeypatch):
    Worker().handle()
    monkeypatch.setattr(gunicorn.os, "getpid", lambda: -1)
    assert gunicorn.worker() is None


def test_a_worker_that_was_told_to_end_is_stopping():
    worker = Worker()
    worker.handle()
    assert not exit.stopping()
    worker.alive = False
    assert exit.stopping()


@pytest.mark.parametrize(
    ("workers", "served", "expected"),
    [
        # The other worker serves meanwhile.
        (2, 5, 6.0),
        # gunicorn starts the next one when this one is gone.
        (1, 5, 0.0),
        # SIGQUIT, SIGINT.
        (2, 1, 0.0),
    ],
)
def test_the_goodbye_is_spread_only_where_others_serve(workers, served, expected):
    worker = Worker(workers)
    worker.handle()
    worker.nr = served
    assert exit._spread() == expected


def test_the_goodbye_is_spread_after_sigterm(monkeypatch):
    Worker(1).handle()
    monkeypatch.setattr(exit._engine, "is_leaving", lambda: True)
    assert exit._spread() == 6.0


def test_uwsgi_starts_the_next_process_late(monkeypatch):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace())
    assert exit._spread() == 0.0

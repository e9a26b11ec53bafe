"""The watcher's rounds; what it decides is in test_rights.py."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from dwebsocket.logins import watching
from dwebsocket.logins.rights import LOGGED_OUT, Revoked, trouble
from dwebsocket.logins.watching import Watch, Watcher

LIMIT = 10


class Fake:
    """A login that is as a test says."""

    def __init__(self, number, result=None):
        self.id = number
        self.result = result
        self.checks = threading.Semaphore(0)
        self.closed = threading.Event()
        self.interval = 0.05
        self.connection = SimpleNamespace(ended=False, id=number)
        self.over = False
        self.websocket = self
        self.carried = []

    def check(self):
        self.checks.release()
        if self.result is not None:
            raise self.result

    def close(self, code, reason):
        self.code = code
        self.connection.ended = True
        self.closed.set()

    def checked(self, times=1):
        return all(self.checks.acquire(timeout=LIMIT) for _ in range(times))


@pytest.fixture
def watcher(monkeypatch):
    """Return a watcher of the test's own, in a hurry."""
    monkeypatch.setattr(watching, "ROUND", 0.01)
    monkeypatch.setattr(watching, "AGAIN", 0.05)
    trouble._logged = 0.0
    found = Watcher()
    yield found
    for number in list(found._watches):
        found.remove(number)
    trouble._logged = 0.0


def test_each_is_checked_again_and_again(watcher):
    fakes = [Fake(number) for number in range(3)]
    for fake in fakes:
        watcher.add(Watch(fake, 0.05))
    assert all(fake.checked(3) for fake in fakes)
    assert watcher.is_busy()


def test_who_is_revoked_is_closed(watcher):
    one, other = Fake(1, Revoked("logged out")), Fake(2)
    for fake in (one, other):
        watcher.add(Watch(fake, 0.05))
    assert one.closed.wait(LIMIT)
    assert one.code == LOGGED_OUT
    assert other.checked(3)
    assert not other.closed.is_set()


def test_one_that_always_fails_holds_up_nobody(watcher):
    broken = [Fake(number, OperationalError("away")) for number in range(6)]
    broken += [Fake(number, KeyError("a bug")) for number in range(6, 9)]
    whole = Fake(99)
    for fake in [*broken, whole]:
        watcher.add(Watch(fake, 0.05))
    assert whole.checked(5)
    assert all(fake.checked() for fake in broken)
    assert not any(fake.closed.is_set() for fake in broken)


def test_those_that_were_put_off_come_before_the_refused_ones(monkeypatch):
    watcher = Watcher()
    monkeypatch.setattr(watcher, "_start", lambda: None)
    whole = Fake(99)
    for fake in [*(Fake(n, OperationalError("away")) for n in range(6)), whole]:
        watcher.add(Watch(fake, 600))
    # A busy machine: all are due whenever the watcher looks.
    for _ in range(3):
        watcher._check_all(watcher._take(time.monotonic() + 3600))
    assert whole.checked()


def test_the_thread_ends_with_the_last_one_and_comes_back(watcher):
    for _ in range(3):
        fake = Fake(1)
        watcher.add(Watch(fake, 0.05))
        assert fake.checked()
        thread = watcher._thread
        watcher.remove(1)
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert not watcher.is_busy()


def test_the_first_check_comes_soon(monkeypatch):
    monkeypatch.setattr(watching, "FIRST", 0.0)
    watch = Watch(Fake(1), 600)
    assert watch.due < Watch(Fake(2), 600).due + 1
    watcher = Watcher()
    fake = Fake(3)
    watcher.add(Watch(fake, 600))
    assert fake.checked()
    watcher.remove(3)


def test_no_thread_is_no_disaster(watcher, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(threading.Thread, "start", start)
        first = Fake(1)
        watcher.add(Watch(first, 0.05))
    watcher.add(Watch(Fake(2), 0.05))
    assert first.checked()


def test_a_shorter_interval_counts_at_once(watcher):
    fake = Fake(1)
    slow = Watch(fake, 600)
    slow.due += 600
    watcher.add(slow)
    watcher.add(Watch(fake, 0.05))
    assert fake.checked(3)


local = threading.local()


class Tenant(Fake):
    """A WebSocket whose check notes which tenant it asks."""

    def __init__(self, number, *carried, result=None):
        super().__init__(number, result)
        self.carried = list(carried)
        self.asked = []

    def check(self):
        self.asked.append(getattr(local, "tenant", None))
        super().check()


@contextmanager
def generated(name):
    local.tenant = name
    yield
    del local.tenant  # not in a finally


class Entered:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        assert not hasattr(self, "before"), "entered twice"
        self.before = getattr(local, "tenant", None)
        local.tenant = self.name

    def __exit__(self, *error):
        local.tenant = self.before


def called(name):
    return lambda: setattr(local, "tenant", name)


@pytest.mark.parametrize("kind", [generated, Entered, called])
@pytest.mark.parametrize("result", [None, OperationalError("away"), Revoked("out")])
def test_a_check_has_what_the_hooks_bring_over(watcher, kind, result):
    # By turns, so that what one leaves behind would be seen by the next.
    fakes = [
        Tenant(0, kind("acme"), result=result),
        Tenant(1),
        Tenant(2, kind("bolt")),
        Tenant(3),
    ]
    for fake in fakes:
        watcher.add(Watch(fake, 0.05))
    assert all(fake.checked(3) for fake in fakes[1:])
    assert fakes[0].checked(1 if isinstance(result, Revoked) else 2)
    expected = [{"acme"}, {None}, {"bolt"}, {None}]
    assert [set(fake.asked) for fake in fakes] == expected


def test_a_hook_that_fails_ends_nothing_and_asks_nobody(watcher):
    @contextmanager
    def broken():
        raise OperationalError("away")
        yield

    fake, other = Tenant(1, broken()), Tenant(2)
    for each in (fake, other):
        watcher.add(Watch(each, 0.05))
    assert other.checked(3)
    assert not fake.asked
    assert not fake.closed.is_set()

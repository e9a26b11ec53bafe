"""Where and when the engine's records come out; each in a process of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from dwebsocket.process import log

PREAMBLE = """
import logging, os, sys, threading, time
from django.conf import settings
settings.configure(LOGGING_CONFIG=None, DWEBSOCKET={
    "BROKER": BROKER, "BROKER_TIMEOUT": 0.1, "SHUTDOWN_TIMEOUT": 0.2,
})
import django
django.setup()
from dwebsocket import _engine, hub, push
from dwebsocket.process import log

class Keep(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []
        self.some = threading.Event()
    def emit(self, record):
        record.seen = time.time()
        self.records.append(record)
        self.some.set()

keep = Keep()
logging.getLogger("dwebsocket").addHandler(keep)

def own_threads():
    "Python's threads but this one."
    own = threading.current_thread()
    return [thread.name for thread in threading.enumerate() if thread is not own]
"""
#: Nothing listens there.
AWAY = "redis://me:s3cret@127.0.0.1:1/3"


def run(script: str, broker: str | None = AWAY, before: str = ""):
    script = before + f"BROKER = {broker!r}\n" + PREAMBLE + textwrap.dedent(script)
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", script],
        capture_output=True,
        text=True,
        timeout=50,
        env=env,
        check=False,
    )


def done(script: str, **options: str) -> str:
    result = run(script, **options)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    assert "s3cret" not in result.stdout + result.stderr
    return result.stdout


COMES = """
before = time.time()
push.to_all("x")
assert keep.some.wait(20)
(record,) = keep.records
times = before, record.created, record.seen
assert record.name == "dwebsocket.engine" and record.levelname == "WARNING"
assert before - 1 <= record.created <= record.seen + 1, times
assert abs(record.msecs / 1000 - record.created % 1) < 0.002
print(record.getMessage())
"""


def test_a_process_without_views_hears_of_trouble_while_it_runs():
    said = done(COMES + "assert own_threads() == ['websocket-log'], own_threads()")
    # Where, what, and when again.
    assert "the broker is away: redis://127.0.0.1:1/3: " in said
    assert "cannot be connected to" in said
    assert "refused" in said
    assert "the next attempt comes in " in said


@pytest.mark.parametrize(
    ("broker", "shown"),
    [
        ("nats://me:s3cret@127.0.0.1:1", "nats://127.0.0.1:1"),
        ("nats://s3cret@127.0.0.1:1,127.0.0.1:2", "127.0.0.1:1,nats://127.0.0.1:2"),
        ("redis://:s3cret@127.0.0.1:1", "redis://127.0.0.1:1/0"),
        ("rediss://me:s3cret@127.0.0.1:1", "rediss://127.0.0.1:1/0"),
        ("unix:///nowhere.sock?pass=s3cret&db=2", "unix:///nowhere.sock?db=2"),
    ],
)
def test_the_address_is_there_and_the_password_is_not(broker, shown):
    assert shown in done(COMES, broker=broker)


def test_errors_say_where_what_and_when_again():
    said = done(
        """
        push.to_all("x")
        assert keep.some.wait(20)
        for ask in (
            hub.group("news", history=5).history,
            hub.group("news", history=5).position,
        ):
            try:
                ask()
            except hub.BrokerError as error:
                print(error)
        assert _engine.broker_address() == "redis://127.0.0.1:1/3"
        """
    )
    history, position = said.splitlines()
    assert 'redis://127.0.0.1:1/3: reading the history of "news": ' in history
    assert (
        'redis://127.0.0.1:1/3: asking where the history of "news" stands' in position
    )
    for line in (history, position):
        assert "next attempt comes within 5 seconds" in line


def test_under_gevent_the_loop_tells_and_no_thread_is_needed():
    done(
        COMES
        + """
        import gevent
        from gevent import monkey
        original = monkey.get_original("threading", "enumerate")
        assert "websocket-log" not in [t.name for t in original()]
        # The loop is not kept alive by it.
        gevent.wait(timeout=20)
        """.replace("\n        ", "\n"),
        before="from gevent import monkey\nmonkey.patch_all()\n",
    )


def test_under_gevent_a_handler_may_wait():
    done(
        """
        import gevent
        waited = []
        class Slow(logging.Handler):
            def emit(self, record):
                gevent.sleep(0.01)
                waited.append(record)
        logging.getLogger("dwebsocket").addHandler(Slow())
        push.to_all("x")
        deadline = time.monotonic() + 20
        while not waited and time.monotonic() < deadline:
            gevent.sleep(0.01)
        assert waited
        """,
        before="from gevent import monkey\nmonkey.patch_all()\n",
    )


def test_a_forked_child_hears_of_its_own():
    assert (
        done(
            """
            push.to_all("x")
            assert keep.some.wait(20)
            pid = os.fork()
            if not pid:
                keep.records.clear()
                keep.some.clear()
                assert own_threads() == []
                push.to_all("x")
                heard = keep.some.wait(20)
                os.write(1, f"{heard} {len(keep.records)}".encode())
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            assert len(keep.records) == 1
            """
        )
        == "True 1"
    )


@pytest.mark.parametrize("use", ["", "push.to_all('x'); hub.group('a').members()"])
def test_a_process_without_a_broker_has_no_thread_for_it(use):
    done(use + "\nassert own_threads() == [], own_threads()", broker=None)


def test_what_comes_at_the_end_is_logged_before_it():
    result = run("push.to_all('x')", before="import time\n")
    assert result.returncode == 0
    assert result.stderr == ""
    result = run("logging.basicConfig()\npush.to_all('x')")
    assert result.returncode == 0
    assert "the broker is away" in result.stderr


def test_a_handler_that_fails_ends_nothing():
    said = done(
        """
        class Fails(logging.Filter):
            def filter(self, record):
                raise ValueError("no")
        logging.raiseExceptions = False
        logger = logging.getLogger("dwebsocket.engine")
        fails = Fails()
        failed = threading.Event()
        def filter(record):
            failed.set()
            raise ValueError("no")
        logger.addFilter(filter)
        push.to_all("x")
        assert failed.wait(20)
        print(own_threads())
        """
    )
    assert "websocket-log" in said


def test_no_thread_left_is_no_failure(monkeypatch, caplog):
    def fail(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(log.start, "_process", None)
    monkeypatch.setattr(threading.Thread, "start", fail)
    log.start()
    assert "No thread is left" in caplog.text
    assert not log.start.is_done()


def _say(monkeypatch, batches):
    """Have the engine say that, in batches."""
    left = list(batches)
    drain = lambda: left.pop(0) if left else []  # noqa: E731
    monkeypatch.setattr(log._engine, "drain_log", drain)


def test_records_keep_their_level_and_their_time(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    lines = [
        (logging.INFO, "one", 1_000_000.25),
        (logging.WARNING, "100 %s", 1_000_001.5),
        (logging.ERROR, "three", time.time()),
    ]
    _say(monkeypatch, [lines[:2], lines[2:]])
    log.drain()
    found = [(r.levelno, r.getMessage(), r.created) for r in caplog.records]
    assert found == lines
    assert [r.msecs for r in caplog.records[:2]] == [250.0, 500.0]
    assert {r.name for r in caplog.records} == {"dwebsocket.engine"}


def test_a_level_that_is_off_is_not_logged(monkeypatch, caplog):
    caplog.set_level(logging.ERROR, "dwebsocket.engine")
    _say(monkeypatch, [[(30, "x", 1.0)]])
    log.drain()
    assert caplog.records == []


def test_the_end_waits_for_who_is_logging(monkeypatch):
    order = []
    entered, leave = threading.Event(), threading.Event()

    def slow():
        entered.set()
        leave.wait(10)
        order.append("other")
        return []

    monkeypatch.setattr(log._engine, "drain_log", slow)
    other = threading.Thread(target=log.drain)
    other.start()
    assert entered.wait(10)
    monkeypatch.setattr(log._engine, "drain_log", lambda: order.append("end") or [])
    log.drain()
    assert order == []
    threading.Timer(0.05, leave.set).start()
    log.drain(10)
    other.join(10)
    assert order == ["other", "end"]

"""Each test runs in a process of its own, to look at its end."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

from dwebsocket.process import exit

PREAMBLE = """
import atexit, os, sys, threading, time
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from django.test import override_settings
from dwebsocket import _engine, websocket
from dwebsocket.process import exit
from tests.python.live import Site

begun = threading.Semaphore(0)

@websocket
def view(request):
    begun.release()
    assert request.websocket.wait() is None
    os.write(1, b"view ended\\n")

def stubborn(request):
    "A view that does not end."
    begun.release()
    while True:
        request.websocket.wait()
        time.sleep(0.1)

def connect(site):
    import websockets.sync.client as client
    connection = client.connect(
        f"ws://127.0.0.1:{site.port}/", close_timeout=1
    ).__enter__()
    assert begun.acquire(timeout=10)
    return connection

def watch(connection):
    "Print the close code when it comes."
    def run():
        try:
            connection.recv()
        except Exception as error:
            os.write(1, f"closed with {error.rcvd.code}\\n".encode())
    watchers.append(threading.Thread(target=run, daemon=True))
    watchers[-1].start()

# Registered before the package's own, and so called after it.
watchers = []
atexit.register(lambda: [watcher.join(10) for watcher in watchers])
"""


def run(script, *arguments, **options):
    script = PREAMBLE + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        **options,
    )


def test_peers_are_told_and_views_may_end():
    result = run(
        """
        site = Site({"": view}, {})
        watch(connect(site))
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == ["closed with 1012", "view ended"]
    assert result.stderr == ""


@pytest.mark.parametrize("ending", ["sys.exit(3)", "raise SystemExit(3)"])
def test_the_exit_code_stays(ending):
    result = run(
        f"""
        site = Site({{"": view}}, {{}})
        connect(site)
        site.stop()
        {ending}
        """
    )
    assert result.returncode == 3, result.stderr


def test_a_view_that_does_not_end_is_left_behind_in_time():
    begin = time.monotonic()
    result = run(
        """
        settings = {"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0.3}}
        site = Site({"": websocket(stubborn)}, settings)
        watch(connect(site))
        site._settings.disable = lambda: None
        site.stop()
        """
    )
    assert time.monotonic() - begin < 10
    assert result.returncode == 0, result.stderr
    assert "closed with 1012" in result.stdout
    assert "still running after 0.3 seconds" in result.stderr


def test_many_waiting_threads_do_not_crash_the_exit():
    result = run(
        """
        def again(request):
            begun.release()
            while True:
                request.websocket.wait(0.001)

        settings = {"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0}}
        site = Site({"": websocket(again)}, settings)
        kept = [connect(site) for _ in range(20)]
        site._settings.disable = lambda: None
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr


def test_a_process_without_connections_stops_nothing():
    result = run("assert not exit.arm.is_done()\nexit.stop()")
    assert result.returncode == 0, result.stderr


def test_a_forked_child_leaves_the_parents_connections_alone():
    result = run(
        """
        site = Site({"": view}, {})
        connection = connect(site)
        watch(connection)
        site.stop()
        pid = os.fork()
        if not pid:
            exit.stop()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert exit.arm.is_done()
        connection.ping().wait(10)
        os.write(1, b"still open\\n")
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "still open"
    assert "closed with 1012" in result.stdout


def test_under_uwsgi_another_thread_does_it():
    result = run(
        """
        import types
        sys.modules["uwsgi"] = types.ModuleType("uwsgi")
        stopped_in = []
        original = exit._stop
        def _stop():
            stopped_in.append(threading.current_thread().name)
            original()
        exit._stop = _stop
        site = Site({"": view}, {})
        watch(connect(site))
        site.stop()
        exit.stop()
        print(stopped_in)
        """
    )
    assert "['websocket-stop']" in result.stdout, result.stderr
    assert "closed with 1012" in result.stdout


def test_who_asks_for_it_is_waited_for_within_the_time():
    result = run(
        """
        def wait(seconds):
            assert 0 < seconds <= 5, seconds
            os.write(1, b"waited\\n")
            return False

        exit.let_end(wait)
        site = Site({"": view}, {})
        connect(site)
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    # It came after the views of the runners, and has not ended.
    assert result.stdout.splitlines() == ["view ended", "waited"]
    assert "still running" in result.stderr


def test_connections_are_closed_one_after_the_other():
    result = run(
        """
        site = Site({"": view}, {"DWEBSOCKET": {"SHUTDOWN_SPREAD": 60}})
        kept = [connect(site) for _ in range(20)]
        site._settings.disable = lambda: None
        site.stop()
        begin = time.monotonic()
        exit.stop()
        # One in 20 milliseconds; it is not 60 seconds for so few.
        assert 0.38 <= time.monotonic() - begin < 50
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("view ended") == 20


def test_a_spread_of_0_closes_all_at_once():
    result = run(
        """
        site = Site({"": view}, {"DWEBSOCKET": {"SHUTDOWN_SPREAD": 0}})
        kept = [connect(site) for _ in range(20)]
        site._settings.disable = lambda: None
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("view ended") == 20


def test_a_stop_is_known_from_its_beginning():
    result = run(
        """
        @websocket
        def asking(request):
            before = exit.stopping()
            begun.release()
            assert request.websocket.wait() is None
            os.write(1, f"{before} {exit.stopping()}\\n".encode())

        site = Site({"": asking}, {})
        connect(site)
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "False True\n"


def test_a_view_that_still_runs_is_named_and_of_many_some():
    result = run(
        """
        settings = {"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0.1, "SHUTDOWN_SPREAD": 0}}
        site = Site({"a/": websocket(stubborn), "": websocket(stubborn)}, settings)
        kept = [connect(site) for _ in range(12)]
        site._settings.disable = lambda: None
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    [line] = result.stderr.splitlines()
    assert line.count("/ for a guest at 127.0.0.1") == 10
    assert line.endswith(", and 2 more")


@pytest.mark.parametrize("at_once", [False, True])
def test_a_server_may_have_the_stop_begin_before_the_end(at_once):
    result = run(
        f"""
        exit.depart(at_once={at_once})  # no connection has been made
        site = Site({{"": view}}, {{"DWEBSOCKET": {{"SHUTDOWN_SPREAD": 0.1}}}})
        watch(connect(site))
        exit.depart(at_once={at_once})
        assert exit.stopping()
        watchers[0].join(10)
        os.write(1, b"still there\\n")
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()[:2]) == ["closed with 1012", "view ended"]
    assert result.stdout.splitlines()[2:] == ["still there"]
    assert result.stderr == ""


def test_a_stop_that_has_begun_before_the_end_has_the_time_once():
    result = run(
        """
        settings = {"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 2, "SHUTDOWN_SPREAD": 0}}
        site = Site({"": websocket(stubborn)}, settings)
        kept = connect(site)
        site._settings.disable = lambda: None
        site.stop()
        exit.depart(at_once=True)
        begin = time.monotonic()
        exit.stop()
        assert time.monotonic() - begin < 1.5
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("still running after 2 seconds") == 1


def test_time_that_no_view_has_used_before_the_end_is_left_for_it():
    result = run(
        """
        def wait(seconds):
            given.append(seconds)
            return True

        given = []
        exit.let_end(wait)
        site = Site({"": view}, {})
        connect(site)
        site._settings.disable = lambda: None
        site.stop()
        exit.depart(at_once=True)
        time.sleep(1)
        exit.stop()
        assert 0 <= given[0] - given[1] < 0.9, given
        """
    )
    assert result.returncode == 0, result.stderr


def test_the_stop_of_an_asgi_server_begins_at_its_signal():
    result = run(
        """
        import signal
        told = threading.Event()
        signal.signal(signal.SIGTERM, lambda *args: told.set())
        site = Site({"": view}, {})
        watch(connect(site))
        for _ in range(2):
            exit.listen_under_asgi(at_once=True)
        while not _engine.is_leaving():
            # The engine begins to listen in a task of its own.
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        watchers[0].join(10)
        assert told.is_set()
        os.write(1, b"still there\\n")
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "still there"
    assert "closed with 1012" in result.stdout


def test_a_wait_ends_when_it_is_done_or_too_late():
    looks = iter([False, False, True])
    assert exit.wait_until(lambda: next(looks), 50)
    begun = time.monotonic()
    assert not exit.wait_until(lambda: False, 0.05)
    assert time.monotonic() - begun >= 0.05
    # What is done counts even if there is no time to wait.
    assert exit.wait_until(lambda: True, 0)


def test_an_async_view_may_await_the_broker_at_its_end():
    result = run(
        """
        from dwebsocket import hub

        @websocket
        async def leaving(request):
            begun.release()
            try:
                await request.websocket.wait()
            finally:
                published = await hub.group("g").asend("left")
                os.write(1, f"{published.broker}\\n".encode())

        # Nobody listens there.
        settings = {"DWEBSOCKET": {"BROKER": "redis://127.0.0.1:1/0"}}
        site = Site({"": leaving}, settings)
        connect(site)
        site._settings.disable = lambda: None
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "unavailable\n", result.stderr
    assert "Traceback" not in result.stderr


def test_a_call_that_blocks_does_not_hold_up_the_stop():
    result = run(
        """
        import asyncio
        told = threading.Event()

        @websocket
        async def blocked(request):
            begun.release()
            was_told = await asyncio.to_thread(told.wait, 20)
            os.write(1, f"told: {was_told}\\n".encode())

        site = Site({"": blocked}, {})
        peer = connect(site)
        def watch():
            try:
                peer.recv()
            except Exception:
                told.set()
        threading.Thread(target=watch, daemon=True).start()
        site.stop()
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "told: True\n", result.stderr
    assert result.stderr == ""


def test_a_call_that_does_not_end_is_left_behind_in_time():
    begin = time.monotonic()
    result = run(
        """
        import asyncio

        @websocket
        async def blocked(request):
            begun.release()
            await asyncio.to_thread(threading.Event().wait, 40)

        settings = {"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0.3}}
        site = Site({"": blocked}, settings)
        watch(connect(site))
        site._settings.disable = lambda: None
        site.stop()
        """
    )
    assert time.monotonic() - begin < 20
    assert result.returncode == 0, result.stderr
    assert "closed with 1012" in result.stdout
    assert "still running after 0.3 seconds" in result.stderr
    assert "Traceback" not in result.stderr


def test_async_views_may_make_their_first_synchronous_calls_at_the_end(tmp_path):
    """Since Python 3.12, no thread can be started then."""
    result = run(
        """
        from asgiref.sync import sync_to_async
        from django.db import connection, connections
        from dwebsocket import WebSocketView

        def query():
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            os.write(1, b"cleaned up\\n")

        @websocket
        async def leaving(request):
            begun.release()
            try:
                await request.websocket.wait()
            finally:
                await sync_to_async(query)()
                await sync_to_async(query, thread_sensitive=False)()

        class Leaving(WebSocketView):
            async def on_open(self):
                begun.release()

            def on_close(self, code):
                os.write(1, f"closed with {code}\\n".encode())

        # A connection that is kept must not keep others from the thread.
        database = {"NAME": sys.argv[1], "CONN_MAX_AGE": None}
        connections.settings["default"].update(database)
        settings = {"DWEBSOCKET": {"SHUTDOWN_SPREAD": 0}}
        kept = []
        for view in (leaving, Leaving.as_view()):
            site = Site({"": view}, settings)
            kept += [connect(site) for _ in range(5)]
            site.stop()
        """,
        str(tmp_path / "db.sqlite3"),
    )
    assert result.returncode == 0, result.stderr
    lines = sorted(result.stdout.splitlines())
    assert lines == ["cleaned up"] * 10 + ["closed with 1012"] * 5, result.stderr
    assert result.stderr == ""

"""The threads that views run in: reserved before the 101, and used again."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import gc
import os
import sys
import threading
import time
import weakref

import pytest
from django.db import DatabaseError, connections
from django.http import HttpResponseRedirect
from django.test import RequestFactory, override_settings
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation

from dwebsocket import runners
from dwebsocket.context import RequestContext
from dwebsocket.runners import Call, Job, threads
from dwebsocket.websocket import endpoint
from tests.python.peer import TIMEOUT
from tests.python.runners.test_call import run
from tests.servers.client import eventually

VARIABLE = contextvars.ContextVar("variable", default="default")


class TestSeat:
    def seat(self):
        seat = threads.runner.reserve()
        thread = seat._worker.thread
        assert thread.is_alive()
        assert thread.name == "websocket-waiting"
        return seat, thread

    @pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
    def test_the_kernel_has_room_for_many_that_sleep(self):
        seat = threads.runner.reserve()
        # PR_FUTEX_HASH, PR_FUTEX_HASH_GET_SLOTS: -1 before Linux 6.16, 0 for the table
        # of all processes. A new thread may not have run yet.
        slots = ctypes.CDLL(None).prctl
        eventually(lambda: not 0 < slots(78, 2, 0, 0, 0) < 1024, what="room")
        seat.cancel()

    def test_that_is_called_off_ends_its_thread(self):
        seat, thread = self.seat()
        seat.cancel()
        thread.join(TIMEOUT)
        assert not thread.is_alive()
        seat.cancel()

    def test_that_is_forgotten_ends_its_thread(self):
        seat, thread = self.seat()
        del seat
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.usefixtures("no_spare_threads")
class TestWorkers:
    """A view's thread may run another view, which finds nothing of the first one."""

    def ask(self, pair, view=None, request=None):
        """Run a view; return its thread, what it returned, and wait for its end."""
        answers = []

        def ask(request):
            answers.append((threading.current_thread(), view and view(request)))

        _, peer = run(pair, ask, request)
        peer.closing()
        self.wait_for_a_kept_thread(answers[0][0])
        return answers[0]

    def wait_for_a_kept_thread(self, thread=None):
        """Wait until the view's thread is kept, or has ended."""
        assert runners.join(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while not threads.runner._parked and time.monotonic() < deadline:
            if thread is not None and not thread.is_alive():
                break
            time.sleep(0.001)

    def test_run_one_view_after_the_other(self, pair):
        first, _ = self.ask(pair)
        second, _ = self.ask(pair)
        assert first is second
        assert first.name == "websocket-kept"

    def test_end_when_no_view_comes(self, pair, monkeypatch):
        monkeypatch.setattr(threads, "KEEP", 0.02)
        thread, _ = self.ask(pair)
        thread.join(TIMEOUT)
        assert not thread.is_alive()
        assert threads.runner._parked == []

    def test_are_few(self, pair, monkeypatch):
        monkeypatch.setattr(threads, "MOST", 2)
        release, used = threading.Event(), []

        def view(request):
            used.append(threading.current_thread())
            release.wait(TIMEOUT)

        opened = [run(pair, view) for _ in range(6)]
        release.set()
        for _, peer in opened:
            peer.closing()
        assert runners.join(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while sum(t.is_alive() for t in used) > 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert sum(t.is_alive() for t in used) == len(threads.runner._parked) == 2

    def test_of_another_stack_size_are_not_used(self, pair):
        first, _ = self.ask(pair)
        with override_settings(DWEBSOCKET={"THREAD_STACK_SIZE": 4 << 20}):
            second, _ = self.ask(pair)
        assert first is not second

    def test_that_have_died_are_not_used(self, pair, monkeypatch):
        worker = threads.Worker(threads.runner, 0)
        worker.start()
        worker.call(None)
        worker.thread.join(TIMEOUT)
        threads.runner.park(worker)
        thread, _ = self.ask(pair)
        assert thread is not worker.thread

    def test_that_ran_a_project_s_hooks_end(self, pair):
        socket, peer = pair()
        request = RequestFactory().get("/path")
        request.websocket = socket
        call = Call(lambda request: None, request, (request,), {})
        call.carried = [lambda: None]
        seat = runners.kind().reserve()
        thread = seat._worker.thread
        connection = endpoint.of(socket).connection
        seat.run(Job(RequestContext(), call, socket, connection))
        peer.closing()
        thread.join(TIMEOUT)
        assert not thread.is_alive()

    @pytest.mark.parametrize(
        "name", ["language", "zone", "urlconf", "prefix", "variable"]
    )
    def test_leave_nothing_of_the_view_behind(self, pair, name):
        variable = contextvars.ContextVar("variable", default="default")
        change, look = {
            "language": (
                lambda: translation.activate("zh-hans"),
                translation.get_language,
            ),
            "zone": (
                lambda: timezone.activate("Asia/Tokyo"),
                timezone.get_current_timezone_name,
            ),
            "urlconf": (lambda: set_urlconf("tests.urls_of_another"), get_urlconf),
            "prefix": (lambda: set_script_prefix("/elsewhere/"), get_script_prefix),
            "variable": (lambda: variable.set("changed"), variable.get),
        }[name]
        before = look()
        first, _ = self.ask(pair, lambda request: change())
        second, found = self.ask(pair, lambda request: look())
        assert first is second
        assert found == before

    @pytest.mark.django_db(transaction=True)
    def test_leave_no_database_connection_behind(self, pair):
        def connect(request):
            connection = connections["default"]
            connection.ensure_connection()
            connection.schema_name = "of a tenant"
            return connection

        def look(request):
            return hasattr(connections["default"], "schema_name")

        first, connection = self.ask(pair, connect)
        second, found = self.ask(pair, look)
        assert first is second
        assert found is False
        assert connection.connection is None or connection.is_in_memory_db()

    def test_with_a_connection_that_cannot_be_closed_end(self, pair, monkeypatch):
        def fail():
            raise DatabaseError("of another thread")

        monkeypatch.setattr(threads.databases, "forget", fail)
        thread, _ = self.ask(pair)
        thread.join(TIMEOUT)
        assert not thread.is_alive()

    @pytest.mark.django_db(transaction=True)
    def test_leave_no_connection_of_the_log_s_handlers_behind(self, pair, monkeypatch):
        def drain():
            connections["default"].ensure_connection()

        def look(request):
            return [one.alias for one in connections.all(initialized_only=True)]

        monkeypatch.setattr("dwebsocket.process.log.drain", drain)
        first, _ = self.ask(pair)
        second, found = self.ask(pair, look)
        assert first is second
        assert found == []

    def test_leave_no_event_loop_behind(self, pair):
        def set_loop(request):
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            loop.close()

        def look(request):
            with pytest.raises(RuntimeError, match="no current event loop"):
                asyncio.get_event_loop()
            return True

        first, _ = self.ask(pair, set_loop)
        second, found = self.ask(pair, look)
        assert first is second
        assert found is True

    def test_serve_no_connection_of_a_view_that_failed(self, pair):
        def fail(request):
            request.websocket.close = lambda: None  # it takes no code
            return HttpResponseRedirect("/login/")

        socket, peer = run(pair, fail)
        peer.closing()
        self.wait_for_a_kept_thread()
        first = threads.runner._parked[0].thread
        second, served = self.ask(pair, lambda request: endpoint.of(socket).is_served())
        assert first is second
        assert served is False

    def test_have_no_habit_of_sending(self, pair):
        third, _ = pair()

        def send(request):
            served = endpoint.of(third).is_served()
            third.send("from a view that comes and goes")
            return served, endpoint.of(third).is_served()

        asked = [self.ask(pair, send) for _ in range(4)]
        assert len({thread for thread, _ in asked}) == 1
        assert {answers for _, answers in asked} == {(False, False)}

    def test_hold_nothing_of_a_request_while_they_wait(self, pair):
        request = RequestFactory().get("/path")
        gone = weakref.ref(request)
        self.ask(pair, request=request)
        del request
        gc.collect()
        assert gone() is None

    def test_in_the_child_of_a_view_that_forks_end(self, pair):
        def fork(request):
            child = os.fork()
            if child:
                return os.waitpid(child, 0)[1]
            return None

        begun = time.monotonic()
        _, status = self.ask(pair, fork)
        assert status == 0
        assert time.monotonic() - begun < TIMEOUT

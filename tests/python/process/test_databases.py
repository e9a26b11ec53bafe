from __future__ import annotations

import contextlib
import threading
import time

import pytest
from django.db import OperationalError, connection, connections, transaction

from dwebsocket import runners, websocket
from dwebsocket.context import RequestContext
from dwebsocket.process import databases
from tests.python.peer import TIMEOUT, ready


def query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.fixture
def file_database(tmp_path, django_db_blocker):
    """Have each thread open connections to a database in a file."""
    settings = connections.settings["default"]
    before = dict(settings)
    settings["NAME"] = str(tmp_path / "db.sqlite3")
    with django_db_blocker.unblock():
        yield settings
    settings.clear()
    settings.update(before)


class Recorder:
    """Counts database connections as threads open and close them."""

    def __init__(self, monkeypatch):
        self.open = 0
        self.opened = 0
        self._lock = threading.Lock()
        wrapper = type(connections["default"])
        connect, close = wrapper.get_new_connection, wrapper._close

        def count_connect(this, params):
            with self._lock:
                self.open += 1
                self.opened += 1
            return connect(this, params)

        def count_close(this):
            if this.connection is not None:
                with self._lock:
                    self.open -= 1
            return close(this)

        monkeypatch.setattr(wrapper, "get_new_connection", count_connect)
        monkeypatch.setattr(wrapper, "_close", count_close)


@pytest.fixture
def recorder(file_database, monkeypatch):
    return Recorder(monkeypatch)


def in_thread(function):
    """Run a function as a view's thread would; return what it returned."""
    result = []

    def call():
        databases.begin()
        try:
            result.append(function())
        except BaseException as error:
            result.append(error)
        finally:
            databases.end()

    thread = threading.Thread(target=RequestContext().run, args=(call,))
    thread.start()
    thread.join(TIMEOUT)
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


class Waits:
    """Stands in for the engine's receive: plays answers, notes how it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.timeouts = []
        self.open = []

    def __call__(self, timeout):
        self.timeouts.append(timeout)
        self.open.append(connection.connection is not None)
        return self.answers.pop(0)


class TestReceive:
    def test_a_message_that_is_there_costs_no_connection(self, recorder):
        def body():
            query()
            waits = Waits(b"there")
            assert databases.receive(waits, None) == b"there"
            return waits, connection.connection is not None

        waits, still_open = in_thread(body)
        assert waits.timeouts == [0]
        assert still_open is True

    def test_a_connection_for_one_request_goes_before_the_wait(self, recorder):
        def body():
            query()
            waits = Waits(None, b"message")
            assert databases.receive(waits, 7.0) == b"message"
            assert databases.in_use.get() is False
            return waits

        waits = in_thread(body)
        assert waits.timeouts == [0, 7.0]
        assert waits.open == [True, False]
        assert recorder.open == 0

    @pytest.mark.parametrize("age", [None, 3600])
    def test_one_that_may_be_kept_stays_for_a_moment(
        self, recorder, file_database, age
    ):
        file_database["CONN_MAX_AGE"] = age

        def body():
            query()
            waits = Waits(None, None, b"message")
            assert databases.receive(waits, None) == b"message"
            return waits

        waits = in_thread(body)
        assert waits.timeouts == [0, databases.KEEP, None]
        assert waits.open == [True, True, False]

    def test_one_that_may_be_kept_is_there_for_the_next_message(
        self, recorder, file_database
    ):
        file_database["CONN_MAX_AGE"] = None

        def body():
            query()
            waits = Waits(None, b"message")
            assert databases.receive(waits, None) == b"message"
            query()
            return waits

        waits = in_thread(body)
        assert waits.timeouts == [0, databases.KEEP]
        assert recorder.opened == 1

    def test_the_time_limit_is_kept_over_both_stages(self, recorder, file_database):
        file_database["CONN_MAX_AGE"] = 2

        def body():
            query()
            short, long = Waits(None, None), Waits(None, None, None)
            assert databases.receive(short, 1.0) is None
            assert databases.receive(long, 5.0) is None
            return short.timeouts, long.timeouts

        short, long = in_thread(body)
        assert short == [0, 1.0]
        assert long[1] == pytest.approx(2, abs=0.5)
        assert sum(long) == pytest.approx(5.0)

    def test_a_transaction_keeps_its_connection(self, recorder):
        def body():
            with transaction.atomic():
                query()
                waits = Waits(None, b"message")
                databases.receive(waits, None)
                assert databases.in_use.get() is True
            return waits

        assert in_thread(body).open == [True, True]

    def test_a_thread_that_opened_none_is_told_apart(self, file_database):
        def body():
            before = databases.in_use.get()
            query()
            return before, databases.in_use.get()

        assert in_thread(body) == (False, True)


class TestWebSocket:
    @pytest.mark.parametrize("name", ["wait", "receive"])
    def test_waiting_lets_the_connection_go(self, pair, recorder, name):
        websocket, peer = pair()

        def body():
            query()
            peer.send("message")
            ready(websocket)
            assert getattr(websocket, name)() == b"message"
            assert recorder.open == 1
            with pytest.raises(TimeoutError):
                websocket.receive(0.001)
            assert recorder.open == 0

        in_thread(body)

    def test_a_connection_that_was_closed_is_passed_over(self, recorder):
        def body():
            query()
            connection.close()
            assert databases.receive(Waits(None, b"message"), None) == b"message"
            return databases.in_use.get()

        assert in_thread(body) is False


class TestViews:
    def test_idle_views_hold_no_connections(self, site, recorder):
        waiting = threading.Semaphore(0)

        @websocket
        def view(request):
            query()
            waiting.release()
            while request.websocket.wait() is not None:
                pass

        running = site({"": view})
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(running.connect())
                assert waiting.acquire(timeout=TIMEOUT)
            deadline = time.monotonic() + TIMEOUT
            while recorder.open and time.monotonic() < deadline:
                time.sleep(0.01)
            assert (recorder.opened, recorder.open) == (30, 0)

    def test_the_end_of_a_view_closes_its_connections(
        self, site, recorder, file_database
    ):
        file_database["CONN_MAX_AGE"] = None
        running = site({"": websocket(lambda request: query())})
        with running.connect():
            pass
        assert runners.join(TIMEOUT)
        assert (recorder.opened, recorder.open) == (1, 0)


class TestShared:
    """A database in memory, as ``LiveServerTestCase`` shares it."""

    @pytest.fixture
    def shared(self, django_db_blocker, monkeypatch):
        with django_db_blocker.unblock():
            ours = connections["default"]
            monkeypatch.setattr(ours, "is_in_memory_db", lambda: True)
            ours.inc_thread_sharing()
            yield ours
            if ours.allow_thread_sharing:
                ours.dec_thread_sharing()

    def _in_thread(self, context, function):
        seen = []
        thread = threading.Thread(
            target=lambda: seen.append(context.run(function)), daemon=True
        )
        thread.start()
        thread.join(TIMEOUT)
        return seen[0]

    def test_the_views_thread_has_the_same_connection(self, shared):
        assert self._in_thread(RequestContext(), lambda: connections["default"]) is (
            shared
        )

    def test_one_that_is_not_shared_stays_with_its_thread(self, shared):
        shared.dec_thread_sharing()
        other = self._in_thread(RequestContext(), lambda: connections["default"])
        assert other is not shared

    def test_one_that_is_shared_no_more_does_no_harm_at_the_end(self, shared):
        context = RequestContext()

        def view():
            databases.begin()
            databases.in_use.set(True)  # the thread has another connection as well
            shared.dec_thread_sharing()
            databases.receive(lambda timeout: None, 0.01)
            databases.end()
            return "default" in [c.alias for c in connections.all(True)]

        assert self._in_thread(context, view) is False


def test_a_connection_that_cannot_be_closed_is_forgotten(monkeypatch, file_database):
    def fail(connection):
        raise OperationalError("the server has gone away")

    def view():
        connections["default"].ensure_connection()
        with monkeypatch.context() as patch:
            patch.setattr(type(connections["default"]), "close", fail)
            with pytest.raises(OperationalError):
                databases.forget()
        return [one.alias for one in connections.all(initialized_only=True)]

    assert in_thread(view) == []


@pytest.mark.parametrize("everything", [False, True])
def test_a_connection_that_fails_to_close_is_logged_once_and_forgotten(
    recorder, monkeypatch, caplog, everything
):
    """The view has nothing to do with it, and its next query works."""

    def fail(this):
        raise OperationalError("gone on purpose")

    def use():
        query()
        with monkeypatch.context() as patch:
            patch.setattr(type(connections["default"]), "_close", fail)
            assert databases.let_go(everything) is None
        assert not databases.held()
        assert not databases.in_use.get()
        query()
        assert databases.held()

    in_thread(use)
    [record] = caplog.records
    assert record.name == "dwebsocket"
    assert "'default' could not be closed" in record.message
    assert "gone on purpose" in record.message
    assert recorder.opened == 2

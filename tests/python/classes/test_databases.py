"""Database connections of handlers: those of the threads, let go after each handler."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import Group
from django.db import connections

from dwebsocket import WebSocketView
from dwebsocket.runners import pool

from .helpers import TIMEOUT, code_of, received


@pytest.fixture(autouse=True)
def threads():
    """Have new threads for each test: those of before keep connections for a while."""
    yield
    assert pool.runner.join(TIMEOUT)
    pool.runner.stop()
    pool.runner.forget()


class Names(WebSocketView):
    """Says whether a connection was open before, and makes a row."""

    def on_message(self, message):
        kept = connections["default"].connection is not None
        Group.objects.create(name=message)
        where = threading.get_ident()
        self.websocket.send_json([kept, where, Group.objects.count()])


@pytest.mark.usefixtures("tables")
def test_a_connection_is_closed_after_each_handler(site):
    with site({"": Names.as_view()}).connect() as client:
        for number in range(5):
            client.send(str(number))
            kept, _, count = received(client)
            assert (kept, count) == (False, number + 1)


@pytest.mark.usefixtures("tables")
def test_conn_max_age_keeps_it_for_a_moment(site, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 60)
    threads: set[int] = set()
    with site({"": Names.as_view()}).connect() as client:
        for number in range(5):
            client.send(str(number))
            kept, thread, _ = received(client)
            # Each thread has a connection of its own.
            assert kept is (thread in threads)
            threads.add(thread)


@pytest.mark.usefixtures("tables")
def test_a_kept_connection_is_closed_when_nothing_comes(site, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 60)
    monkeypatch.setattr("dwebsocket.process.databases.KEEP", 0.05)
    closed = threading.Event()
    backend = type(connections["default"])
    close = backend.close

    def note(self):
        close(self)
        if threading.current_thread().name == "websocket-pool":
            closed.set()

    monkeypatch.setattr(backend, "close", note)
    with site({"": Names.as_view()}).connect() as client:
        client.send("x")
        received(client)
        assert closed.wait(TIMEOUT)


@pytest.mark.usefixtures("tables")
def test_a_handler_that_fails_in_a_transaction_leaves_none_behind(site, caplog):
    class Fails(WebSocketView):
        def on_message(self, message):
            connections["default"].set_autocommit(False)
            Group.objects.create(name=message)
            raise ValueError("wrong on purpose")

    live = site({"fails": Fails.as_view(), "names": Names.as_view()})
    with caplog.at_level("CRITICAL", "dwebsocket.view"), live.connect("fails") as one:
        one.send("never")
        assert code_of(one) == 1011
    with live.connect("names") as two:
        two.send("x")
        assert received(two)[2] == 1

"""The lines of the log about a connection's opening and closing."""

from __future__ import annotations

import logging
import threading

import pytest

from dwebsocket import runners, websocket
from tests.python.live import Site

OPENED, CLOSED = "dwebsocket.opened", "dwebsocket.closed"


@websocket
def view(request):
    for message in request.websocket:
        request.websocket.send(message)


@pytest.fixture
def site():
    running = Site({"a/": view}, {})
    yield running
    running.stop()


def lines(caplog, name):
    return [record for record in caplog.records if record.name == name]


def test_opening_and_closing_are_logged(site, caplog):
    caplog.set_level(logging.INFO, "dwebsocket")
    with site.connect("a/") as peer:
        peer.send("x")
        assert peer.recv() == "x"
        [opened] = lines(caplog, OPENED)
        assert opened.levelno == logging.INFO
        assert opened.getMessage() == "WebSocket opened: /a/ for a guest at 127.0.0.1"
        assert opened.request.path == "/a/"
        assert not lines(caplog, CLOSED)
        peer.close(4000, "bye\n")
    assert runners.join(20)
    [closed] = lines(caplog, CLOSED)
    assert closed.levelno == logging.INFO
    begin, _, end = closed.getMessage().partition(" after ")
    assert begin == r"WebSocket closed (4000, bye\n): /a/ for a guest at 127.0.0.1"
    assert end == f"{closed.seconds:.1f} s"
    assert (closed.close_code, closed.close_reason) == (4000, "bye\n")
    assert closed.request.path == "/a/"


@pytest.mark.parametrize("quiet", [OPENED, CLOSED])
def test_each_has_a_name_of_its_own(site, caplog, quiet):
    # The last call sets the level of the handler, too.
    caplog.set_level(logging.WARNING, quiet)
    caplog.set_level(logging.INFO, "dwebsocket")
    with site.connect("a/") as peer:
        peer.send("x")
        assert peer.recv() == "x"
    assert runners.join(20)
    names = {record.name for record in caplog.records}
    assert names & {OPENED, CLOSED} == {OPENED, CLOSED} - {quiet}


def test_a_view_that_runs_is_named():
    begun, over = threading.Event(), threading.Event()

    @websocket
    def stubborn(request):
        begun.set()
        over.wait(20)

    own = Site({"b/": stubborn}, {})
    try:
        with own.connect("b/"):
            assert begun.wait(20)
            assert runners.running() == ["/b/ for a guest at 127.0.0.1"]
            over.set()
        assert runners.join(20)
        assert runners.running() == []
    finally:
        over.set()
        own.stop()

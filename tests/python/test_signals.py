"""Signals: who sends them, when, and what a bad receiver does."""

from __future__ import annotations

import queue
import threading

import pytest
from websockets.exceptions import InvalidStatus

from dwebsocket import accept_websocket, runners, signals


@pytest.fixture
def heard(quiet):
    """Return a queue of what all signals said, with the receiver's thread."""
    # The views of earlier tests have said theirs.
    assert runners.join(10)
    told: queue.Queue = queue.Queue()
    names = {getattr(signals, name): name for name in signals.__all__}
    names = {signal: name for signal, name in names.items() if hasattr(signal, "send")}

    def receiver(signal, **named):
        told.put((names[signal], named, threading.current_thread()))

    for signal in names:
        signal.connect(receiver)
    yield told
    for signal in names:
        signal.disconnect(receiver)


def _next(heard):
    return heard.get(timeout=10)


def test_a_conversation_is_told_in_order_in_the_views_thread(site, heard):
    threads = []

    @accept_websocket
    def view(request):
        threads.append(threading.current_thread())
        request.websocket.join("signals.a")
        request.websocket.join("signals.b")
        request.websocket.leave("signals.a")
        request.websocket.wait()

    with site({"ws": view}).connect("/ws") as client:
        client.send("hello")
        said = [_next(heard) for _ in range(7)]
    assert [name for name, _, _ in said] == [
        "websocket_opened",
        "group_joined",
        "group_joined",
        "group_left",
        "websocket_message",
        "group_left",
        "websocket_closed",
    ]
    assert [named.get("group") for _, named, _ in said[1:4]] == [
        *("signals.a", "signals.b", "signals.a")
    ]
    assert said[4][1]["message"] == b"hello"
    assert said[5][1]["group"] == "signals.b"
    assert said[6][1]["code"] == 1000
    assert {thread for _, _, thread in said} == set(threads)
    assert all(named["websocket"] is said[0][1]["websocket"] for _, named, _ in said)


def test_a_refusal_is_told(site, heard):
    running = site({"ws": accept_websocket(lambda request: None)})
    with (
        pytest.raises(InvalidStatus),
        running.connect("/ws", origin="http://evil.test"),
    ):
        pass
    name, named, _ = _next(heard)
    assert name == "websocket_rejected"
    assert named["status"] == 403
    assert "evil.test" in named["reason"]


def test_a_bad_receiver_is_logged_and_disturbs_nobody(pair, caplog):
    def bad(**named):
        raise ZeroDivisionError

    signals.websocket_message.connect(bad)
    try:
        websocket, peer = pair()
        peer.send("x")
        assert websocket.wait() == b"x"
        peer.send("y")
        assert websocket.receive() == b"y"
    finally:
        signals.websocket_message.disconnect(bad)
    assert "Error in the signal receiver" in caplog.text


def test_joining_again_is_no_news(pair, heard):
    websocket, _ = pair()
    for _ in range(2):
        websocket.join("signals.again")
    websocket.leave("signals.again")
    websocket.leave("signals.again")
    websocket.join("signals.again")
    names = [heard.get_nowait()[0] for _ in range(heard.qsize())]
    assert names == ["group_joined", "group_left", "group_joined"]

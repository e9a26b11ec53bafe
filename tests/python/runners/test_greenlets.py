"""Each test runs in a process of its own: patching by gevent cannot be undone."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PREAMBLE = """
from gevent import monkey
monkey.patch_all()
import os, threading, time
import gevent
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from django.http import HttpResponse
from django.test import RequestFactory
from dwebsocket import _engine, runners
from dwebsocket.runners import greenlets
from dwebsocket.backends.default.websocket import DefaultWebSocket
from dwebsocket.context import RequestContext
from dwebsocket.runners import Call, Job
from dwebsocket.websocket import endpoint
from tests.python.peer import Peer, shake, socket_pair

def open_pair(**options):
    values = {"text_as_bytes": True, "validate_utf8": False, **options}
    options = _engine.Options(**values)
    runner = runners.kind()
    assert runner is greenlets.runner
    handshake = shake(options)
    server, client = socket_pair()
    connection = _engine.adopt(server.fileno()).start(
        handshake.response(None, []), b"", handshake, options,
        _engine.reserve(1000), runner.wake_queue(),
    )
    server.close()
    client.settimeout(10)
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += client.recv(1)
    socket = DefaultWebSocket(connection, port=runner.port(connection))
    return socket, Peer(client)

def run(view, socket, gone_timeout=None):
    request = RequestFactory().get("/")
    request.websocket = socket
    call = Call(view, request, (request,), {})
    call.gone_timeout = gone_timeout
    connection = endpoint.of(socket).connection
    seat = runners.kind().reserve()
    seat.run(Job(RequestContext(), call, socket, connection))

class Ticks:
    "Counts how often the hub gives this greenlet a turn."
    def __init__(self):
        self.count = 0
        gevent.spawn(self.tick)
    def tick(self):
        while True:
            self.count += 1
            gevent.sleep(0.001)
"""


def gevent_test(function):
    """Run a test's docstring as a script."""

    def test(tmp_path):
        script = PREAMBLE + textwrap.dedent(function.__doc__)
        result = subprocess.run(
            [sys.executable, "-X", "dev", "-c", script],
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr, result.stderr

    test.__name__ = function.__name__
    return test


@gevent_test
def test_a_waiting_view_lets_the_others_run():
    """
    socket, peer = open_pair()
    ticks = Ticks()
    got = []
    run(lambda request: got.extend(request.websocket), socket)
    gevent.sleep(0.05)
    before = ticks.count
    assert before > 2
    for text in "abc":
        peer.send(text)
    peer.close(4000)
    assert peer.closing().code == 4000
    assert got == [b"a", b"b", b"c", None]
    """


@gevent_test
def test_many_views_wait_in_one_thread():
    """
    pairs = [open_pair() for _ in range(50)]
    threads = set()
    def echo(request):
        for message in request.websocket:
            if message is None:
                break
            threads.add(greenlets._native_thread())
            request.websocket.send(message)
    for socket, _ in pairs:
        run(echo, socket)
    for number, (_, peer) in enumerate(pairs):
        peer.send(str(number))
    for number, (_, peer) in enumerate(pairs):
        assert peer.message() == str(number)
        peer.close()
    assert runners.join(10)
    assert threads == {greenlets._native_thread()}
    """


@gevent_test
def test_a_timeout_is_kept():
    """
    socket, peer = open_pair()
    ticks = Ticks()
    begin = time.monotonic()
    assert socket.wait(0.05) is None
    assert 0.05 <= time.monotonic() - begin < 5
    assert ticks.count > 2
    assert socket.wait(0) is None
    peer.send("x")
    assert socket.wait(10) == b"x"
    """


@gevent_test
def test_a_local_close_wakes_the_waiter_with_none():
    """
    socket, peer = open_pair()
    waiter = gevent.spawn(socket.wait)
    gevent.sleep(0.01)
    socket.close()
    assert waiter.get(timeout=10) is None
    """


@gevent_test
def test_two_greenlets_may_wait_for_one_socket():
    """
    socket, peer = open_pair()
    waiters = [gevent.spawn(socket.wait) for _ in range(2)]
    gevent.sleep(0.01)
    peer.send("a")
    peer.send("b")
    gevent.joinall(waiters, timeout=10)
    assert sorted(w.value for w in waiters) == [b"a", b"b"]
    """


@gevent_test
def test_a_real_thread_may_wait_too():
    """
    socket, peer = open_pair()
    pool = gevent.get_hub().threadpool
    waiter = pool.spawn(socket.wait, 10)
    sender = pool.spawn(socket.send, "from a thread", None, overflow="block")
    assert peer.message() == "from a thread"
    peer.send("x")
    assert waiter.get(timeout=10) == b"x"
    assert sender.get(timeout=10) is True
    """


@gevent_test
def test_a_full_outbox_blocks_the_greenlet_not_the_hub():
    """
    socket, peer = open_pair(outbox_messages=2, outbox_bytes=500_000)
    block, last = b"x" * 200_000, b"y" * 200_000
    ticks = Ticks()
    def fill():
        while socket.send(block, True, overflow="refuse"):
            pass
        return socket.send(last, True, overflow="block", timeout=10)
    sender = gevent.spawn(fill)
    gevent.sleep(0.1)
    assert not sender.dead
    assert ticks.count > 2
    while peer.message() != last:
        pass
    assert sender.get(timeout=10) is True
    """


@gevent_test
def test_a_send_gives_up_in_time():
    """
    socket, peer = open_pair(outbox_messages=2, outbox_bytes=500_000)
    block = b"x" * 200_000
    while socket.send(block, True, overflow="refuse"):
        pass
    assert socket.send(block, True, overflow="block", timeout=0.05) is False
    assert socket.stats["dropped_messages"] == 1
    sender = gevent.spawn(socket.send, block, True, overflow="block", timeout=30)
    gevent.sleep(0.01)
    peer.drop()
    assert sender.get(timeout=10) is False
    """


@gevent_test
def test_killing_a_view_closes_with_1001():
    """
    socket, peer = open_pair()
    run(lambda request: request.websocket.wait(), socket)
    gevent.sleep(0.01)
    [greenlet] = greenlets.runner._running
    greenlet.kill()
    assert peer.closing().code == 1001
    assert runners.join(10)
    """


@gevent_test
def test_the_loop_ends_when_nobody_waits():
    """
    socket, peer = open_pair()
    waiter = gevent.spawn(socket.wait, 0.01)
    gevent.wait(timeout=10)
    assert waiter.dead
    socket.close()
    """


@gevent_test
def test_an_exception_is_logged_and_closes_with_1011():
    """
    import logging
    records = []
    class Keep(logging.Handler):
        emit = staticmethod(records.append)
    logging.getLogger("dwebsocket.view").addHandler(Keep())
    logging.getLogger("dwebsocket.view").propagate = False
    socket, peer = open_pair()
    def view(request):
        raise ValueError("why")
    run(view, socket)
    assert peer.closing().code == 1011
    assert len(records) == 1
    """


@gevent_test
def test_the_exit_lets_views_end():
    """
    socket, peer = open_pair()
    from dwebsocket.process import exit
    exit.arm()
    ended = []
    def view(request):
        assert request.websocket.wait() is None
        gevent.sleep(0.01)
        ended.append(True)
    run(view, socket)
    gevent.sleep(0.01)
    import atexit
    peer_end = gevent.spawn(peer.closing)
    exit.stop()
    atexit.unregister(exit.stop)
    assert ended == [True]
    assert peer_end.get(timeout=10).code == 1012
    """


def test_the_process_of_the_tests_is_not_patched():
    from dwebsocket import runners
    from dwebsocket.runners import threads

    assert "gevent.monkey" not in sys.modules
    assert runners.kind() is threads.runner


@gevent_test
def test_a_helper_greenlet_waits_and_one_that_sends_around_does_not():
    """
    BLOCK = b"x" * 200_000
    small = {"outbox_messages": 4, "outbox_bytes": 1_000_000}
    (served, peer), (one, peer1), (two, peer2) = [open_pair(**small) for _ in range(3)]
    def tail():
        sent = [served.send(BLOCK, True) for _ in range(40)]
        return all(sent) and served.send("last")
    def broadcast():
        for _ in range(3):
            for socket in (one, two):
                socket.send("x")
        while one.send(BLOCK, True, overflow="refuse"):
            pass
        return [socket.send(BLOCK, True) for socket in (one, two)]
    helper = gevent.spawn(tail)
    loop = gevent.spawn(broadcast)
    assert loop.get(timeout=20) == [False, True]
    assert (one.close_code, two.close_code) == (1013, None)
    ticks = Ticks()
    gevent.sleep(0.1)
    assert not helper.dead and ticks.count > 2
    while peer.message() != "last":
        pass
    assert helper.get(timeout=20) is True
    assert served.close_code is None
    """


@gevent_test
def test_a_thread_of_the_pool_that_serves_one_waits():
    """
    small = {"outbox_messages": 4, "outbox_bytes": 1_000_000}
    served, peer = open_pair(**small)
    def tail():
        sent = [served.send(b"x" * 200_000, True) for _ in range(40)]
        return all(sent) and served.send("last")
    helper = gevent.get_hub().threadpool.spawn(tail)
    gevent.sleep(0.2)
    while peer.message() != "last":
        pass
    assert helper.get(timeout=20) is True
    """


@gevent_test
def test_a_view_that_only_sends_is_ended_and_a_publisher_is_not():
    """
    from dwebsocket import hub
    def vain(others):
        def view(request):
            while not done.is_set():
                request.websocket.send("x")
                if others:
                    hub.group("x").send("x")
                gevent.sleep(0.002)
        return view
    done = threading.Event()
    for others in (False, True):
        socket, peer = open_pair()
        run(vain(others), socket, gone_timeout=0.1)
        peer.message()
        peer.close()
        ended = runners.join(0.6 if others else 20)
        assert ended is not others
    done.set()
    assert runners.join(20)
    """


@gevent_test
def test_a_greenlet_that_is_killed_before_it_begins_leaves_nothing_open():
    """
    socket, peer = open_pair()
    run(lambda request: request.websocket.receive(), socket)
    [greenlet] = greenlets.runner._running
    greenlet.kill()
    assert peer.closing().code in (1001, 1011)
    assert runners.join(10)
    """


@gevent_test
def test_what_fails_beside_the_view_closes_with_1011():
    """
    import logging
    from dwebsocket.process import databases

    def fail():
        raise MemoryError("none left")

    databases.begin = fail
    logged = []
    logging.getLogger("dwebsocket.view").addFilter(lambda record: logged.append(record))
    socket, peer = open_pair()
    run(lambda request: request.websocket.receive(), socket)
    assert peer.closing().code == 1011
    assert runners.join(10)
    assert len(logged) == 1
    """


@gevent_test
def test_a_greenlets_stack_bears_the_deepest_value():
    """
    import json
    socket, peer = open_pair()
    outcome = []

    def view(request):
        for depth in (900, 4900, 9900):
            for action in (json.dumps, repr):
                value = 1
                for _ in range(depth):
                    value = {"a": value}
                try:
                    action(value)
                except RecursionError:
                    pass
        outcome.append("survived")

    run(view, socket)
    assert peer.closing().code == 1000
    assert outcome == ["survived"]
    """


@gevent_test
def test_without_a_descriptor_for_the_hub_there_is_no_seat():
    """
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gevent.get_hub()
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        runners.kind().reserve()
    except OSError as error:
        assert error.errno == 24
    else:
        raise AssertionError("a seat")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    runners.kind().reserve()
    """

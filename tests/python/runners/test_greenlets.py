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
from dwebsocket.runners.handlers import HandlerCall
from dwebsocket.websocket import endpoint
from tests.python.peer import Peer, fill, shake, socket_pair

_thread_id = monkey.get_original("_thread", "get_ident")

def open_pair(**options):
    values = {"text_as_bytes": True, "validate_utf8": False, **options}
    options = _engine.Options(**values)
    runner = runners.kind()
    assert runner is greenlets.runner
    handshake = shake(options)
    server, client = socket_pair()
    connection = _engine.adopt(server.fileno()).start(
        handshake.response(None, []), b"", handshake, options,
        _engine.reserve(1000), runner.event_loop(),
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

def handle(handlers, socket):
    "Have the handlers of a class serve a connection."
    request = RequestFactory().get("/")
    call = HandlerCall(handlers, request, (request,), {})
    seat = runners.kind().reserve()
    seat.run(Job(RequestContext(), call, socket, endpoint.of(socket).connection))

def send_last(socket, last, timeout):
    "Send until the outbox is full; return the sender of a message that waits for room."
    fill(socket)
    return gevent.spawn(socket.send, last, True, overflow="block", timeout=timeout)

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
            threads.add(_thread_id())
            request.websocket.send(message)
    for socket, _ in pairs:
        run(echo, socket)
    for number, (_, peer) in enumerate(pairs):
        peer.send(str(number))
    for number, (_, peer) in enumerate(pairs):
        assert peer.message() == str(number)
        peer.close()
    assert runners.join(10)
    assert threads == {_thread_id()}
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
def test_greenlets_that_wait_for_one_socket_do_not_wake_one_another():
    """
    import contextlib
    from dwebsocket.exceptions import WebSocketEOF
    attended = []
    attend = greenlets.Waker._attend
    def counted(waker):
        attended.append(1)
        attend(waker)
    greenlets.Waker._attend = counted
    socket, peer = open_pair(outbox_messages=2, outbox_bytes=500_000)
    block = b"x" * 200_000
    fill(socket)
    got = []
    def wait():
        with contextlib.suppress(WebSocketEOF):
            while (message := socket.wait()) is not None:
                got.append(message)
    waiters = [gevent.spawn(wait) for _ in range(2)]
    sender = gevent.spawn(socket.send, block, True, overflow="block", timeout=30)
    gevent.sleep(0.01)
    for text in "abc":
        peer.send(text)
        gevent.sleep(0.01)
    # Nothing arrives any more, so that the loop has nothing to attend to.
    deadline = time.monotonic() + 10
    before = -1
    while before != len(attended):
        assert time.monotonic() < deadline
        before = len(attended)
        gevent.sleep(0.1)
    peer.drop()
    assert sender.get(timeout=10) is False
    gevent.joinall(waiters, timeout=10)
    assert sorted(got) == [b"a", b"b", b"c"]
    """


@gevent_test
def test_an_exception_in_a_flooded_view_loses_no_message():
    """
    class Ended(Exception):
        pass
    socket, peer = open_pair(inbox_messages=1000)
    expected = [str(number).encode() for number in range(200)]
    for text in expected:
        peer.send(text.decode())
    while endpoint.of(socket).connection.pending < len(expected):
        gevent.sleep(0.001)
    got, ended = [], []
    def view():
        while len(got) < len(expected):
            try:
                got.append(socket.wait(10))
                # Others run every millisecond.
                end = time.monotonic() + 0.0002
                while time.monotonic() < end:
                    pass
            except Ended:
                ended.append(1)
    greenlet = gevent.spawn(view)
    gevent.sleep(0)
    # The view rests whenever this greenlet runs.
    while len(got) < len(expected) and not greenlet.dead:
        gevent.get_hub().loop.run_callback(greenlet.throw, Ended)
        gevent.sleep(0)
    greenlet.join(10)
    assert ended
    assert got == expected
    """


@gevent_test
def test_a_sender_whose_message_does_not_fit_leaves_the_processor_alone():
    """
    socket, peer = open_pair(outbox_messages=100, outbox_bytes=500_000)
    last = b"y" * 200_000
    fill(socket)
    # There is room, but not for this message.
    sender = gevent.spawn(socket.send, last, True, overflow="block", timeout=30)
    gevent.sleep(0.01)
    before = time.process_time()
    gevent.sleep(0.5)
    assert time.process_time() - before < 0.25
    assert not sender.dead
    while peer.message() != last:
        pass
    assert sender.get(timeout=10) is True
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
    last = b"y" * 200_000
    sender = send_last(socket, last, 10)
    ticks = Ticks()
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
    fill(socket)
    assert socket.send(block, True, overflow="block", timeout=0.05) is False
    assert socket.stats["dropped_messages"] == 1
    sender = gevent.spawn(socket.send, block, True, overflow="block", timeout=30)
    gevent.sleep(0.01)
    peer.drop()
    assert sender.get(timeout=10) is False
    """


@gevent_test
def test_what_a_peer_that_reads_nothing_has_lost_is_counted_once():
    """
    socket, peer = open_pair(outbox_messages=2, outbox_bytes=500_000)
    endpoint.of(socket).begin()
    block = b"x" * 200_000
    fill(socket)
    waiting = socket.stats["outbox_messages"]
    assert socket.send(block, True, timeout=0.05) is False
    assert socket.close_code == 1013
    assert socket.stats["dropped_messages"] == waiting + 1
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
        gevent.spawn(fill, one).join()
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


@gevent_test
def test_a_message_arrives_while_a_greenlet_computes():
    """
    socket, peer = open_pair()
    connection = endpoint.of(socket).connection
    waiter = gevent.spawn(socket.wait, 20)
    gevent.sleep(0.01)
    for sent in range(1, 4):
        peer.send("x")
        deadline = time.monotonic() + 10
        # Nothing here lets the hub run.
        while connection.pending < sent:
            assert time.monotonic() < deadline
    assert waiter.get(timeout=10) == b"x"
    assert [socket.read(), socket.read()] == [b"x", b"x"]
    """


@gevent_test
def test_a_timeout_of_gevents_loses_no_message():
    """
    socket, peer = open_pair()
    got = []
    def send():
        for number in range(300):
            peer.send(str(number))
            gevent.sleep(0.0005)
    sender = gevent.spawn(send)
    while len(got) < 300:
        with gevent.Timeout(0.0007 * (len(got) % 3), False):
            got.append(int(socket.wait()))
    assert got == list(range(300))
    assert sender.get(timeout=10) is None
    """


@gevent_test
def test_a_killed_waiter_takes_no_message():
    """
    socket, peer = open_pair()
    for number in range(20):
        waiter = gevent.spawn(socket.wait)
        gevent.sleep(0)
        peer.send(str(number))
        waiter.kill()
        got = waiter.value
        if isinstance(got, gevent.GreenletExit):
            got = socket.wait(10)
        assert got == str(number).encode()
    """


@gevent_test
def test_a_greenlet_that_left_its_wait_is_not_switched_to_in_another_one():
    """
    (one, peer), (two, other) = open_pair(), open_pair()
    slept = []
    def waits(socket):
        try:
            socket.wait()
            victim.throw(KeyError)
        except KeyError:
            began = time.monotonic()
            gevent.sleep(0.2)
            slept.append(time.monotonic() - began)
    first = gevent.spawn(waits, one)
    victim = gevent.spawn(waits, two)
    gevent.sleep(0.01)
    # Both arrive before the hub looks.
    peer.send("x")
    other.send("x")
    gevent.joinall([first, victim], timeout=10)
    assert len(slept) == 1 and slept[0] >= 0.19, slept
    assert two.wait(10) == b"x"
    """


@gevent_test
def test_an_error_of_one_greenlet_does_not_keep_others_waiting():
    """
    gevent.get_hub().NOT_ERROR += (KeyError,)
    pairs = [open_pair() for _ in range(10)]
    got = []
    def waits(socket):
        got.append(socket.wait())
        raise KeyError
    for socket, peer in pairs:
        gevent.spawn_raw(waits, socket)
    gevent.sleep(0.01)
    for socket, peer in pairs:
        peer.send("x")
    deadline = time.monotonic() + 10
    while len(got) < 10:
        assert time.monotonic() < deadline
        gevent.sleep(0.01)
    """


@gevent_test
def test_each_thread_has_a_loop_of_its_own():
    """
    start = monkey.get_original("_thread", "start_new_thread")
    results = []
    def serve():
        socket, peer = open_pair()
        for text in ("a", "b"):
            peer.send(text)
            results.append((socket.wait(10), socket.send(text), peer.message()))
        left.append(socket)
        gevent.get_hub().destroy()
    left = []
    for _ in range(3):
        start(serve, ())
    ours, peer = open_pair()
    deadline = time.monotonic() + 20
    while len(left) < 3:
        assert time.monotonic() < deadline
        peer.send("x")
        assert ours.wait(10) == b"x"
        gevent.sleep(0.01)
    assert sorted(results) == 3 * [(b"a", True, "a")] + 3 * [(b"b", True, "b")]
    """


@gevent_test
def test_a_connection_outlives_the_hub_of_its_thread():
    """
    start = monkey.get_original("_thread", "start_new_thread")
    left = []
    def serve():
        pair = open_pair()
        gevent.get_hub().destroy()
        left.append(pair)
    start(serve, ())
    deadline = time.monotonic() + 20
    while not left:
        assert time.monotonic() < deadline
        gevent.sleep(0.01)
    [(socket, peer)] = left
    peer.send("x")
    # This is another thread than the one of the hub, and may block.
    assert socket.wait(10) == b"x"
    """


@gevent_test
def test_a_forked_child_takes_nothing_from_its_parent():
    """
    socket, peer = open_pair()
    ours = gevent.spawn(lambda: [socket.wait(20) for _ in range(200)])
    gevent.sleep(0.01)
    child = os.fork()
    if not child:
        gevent.sleep(0.3)
        assert endpoint.of(socket).connection.ended
        os._exit(7)
    for number in range(200):
        peer.send(str(number))
        gevent.sleep(0.001)
    assert ours.get(timeout=20) == [str(number).encode() for number in range(200)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    """


@gevent_test
def test_a_forked_child_leaves_the_round_to_its_parent():
    """
    (first, one), (second, other) = open_pair(), open_pair()
    handled = []
    def fork():
        first.wait(20)
        child = os.fork()
        if not child:
            gevent.sleep(0.3)
            os._exit(len(handled))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    def handle():
        while True:
            handled.append(second.wait(20))
    forks = gevent.spawn(fork)
    gevent.spawn(handle)
    gevent.sleep(0.01)
    # The loop reads both in one round.
    one.send("fork")
    other.send("pay")
    assert forks.get(timeout=20) == 0
    gevent.sleep(0.01)
    assert handled == [b"pay"]
    """


@gevent_test
def test_a_forked_child_writes_no_answer_that_its_parent_holds_back():
    """
    socket, peer = open_pair()
    def answer():
        socket.wait(20)
        # Another message waits, so that the answer to this one is held back.
        socket.send(b"one")
        child = os.fork()
        if not child:
            gevent.sleep(0.1)
            os._exit(0)
        os.waitpid(child, 0)
        socket.wait(20)
        socket.send(b"two")
    answers = gevent.spawn(answer)
    gevent.sleep(0.01)
    for text in (b"1", b"2"):
        peer.protocol.send_text(text)
    peer._flush()
    answers.get(timeout=20)
    assert [str(peer.message()) for _ in range(2)] == ["one", "two"]
    """


@gevent_test
def test_a_wait_that_ends_in_a_forked_child_takes_no_message():
    """
    socket, peer = open_pair()
    parent, got = os.getpid(), []
    def wait():
        message = socket.wait(20)
        if os.getpid() != parent:
            os._exit(message is not None)
        got.append(message)
    waits = gevent.spawn(wait)
    gevent.sleep(0.01)
    peer.send("x")
    loop, number = greenlets._waker().loop, endpoint.of(socket).connection.id
    # From now on, the message waits in the inbox.
    loop.attend()
    child = os.fork()
    assert loop.unpark(number, waits)
    if not child:
        waits.switch()
    gevent.get_hub().loop.run_callback(waits.switch)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    waits.join(20)
    assert got == [b"x"]
    """


@gevent_test
def test_messages_that_arrive_together_are_answered_in_order():
    """
    socket, peer = open_pair()
    def echo(request):
        for message in request.websocket:
            if message is not None:
                request.websocket.send(message)
    run(echo, socket)
    gevent.sleep(0.01)
    for round in range(50):
        for number in range(8):
            peer.protocol.send_text(str(number).encode())
        peer._flush()
        assert [int(peer.message()) for _ in range(8)] == list(range(8))
    peer.close()
    assert runners.join(10)
    """


@gevent_test
def test_a_flooded_view_lets_the_others_run():
    """
    socket, peer = open_pair(inbox_messages=100_000)
    ticks = Ticks()
    for _ in range(20_000):
        peer.protocol.send_text(b"x")
    sender = gevent.spawn(peer._flush)
    before = None
    for count in range(20_000):
        assert socket.wait(10) == b"x"
        time.perf_counter()
    assert ticks.count > 3
    """


@gevent_test
def test_handlers_leave_no_database_connection_open():
    """
    import gc, tempfile
    from django.db import connections
    from dwebsocket import WebSocketView

    gc.disable()
    folder = tempfile.TemporaryDirectory()
    connections.settings["default"]["NAME"] = os.path.join(folder.name, "db")
    connections.settings["default"]["CONN_MAX_AGE"] = None
    used = []

    class Uses(WebSocketView):
        def on_message(self, message):
            connections["default"].ensure_connection()
            used.append(connections["default"])

    socket, peer = open_pair()
    handle(Uses(), socket)
    for count in range(1, 4):
        peer.send("x")
        with gevent.Timeout(10):
            while len(used) < count or used[-1].connection is not None:
                gevent.sleep(0.001)
    assert all(one.connection is None for one in used)
    peer.close(1000)
    assert peer.closing().code == 1000
    assert runners.join(10)
    folder.cleanup()
    """


@gevent_test
def test_a_greenlet_that_waits_for_room_takes_no_report_away_from_the_handlers():
    """
    from dwebsocket import WebSocketView

    notes = []

    class Slow(WebSocketView):
        def on_message(self, message):
            notes.append(message)

    socket, peer = open_pair(outbox_messages=2)
    connection = endpoint.of(socket).connection
    handle(Slow(), socket)
    last = b"y" * 200_000
    sender = send_last(socket, last, 40)
    gevent.sleep(0.1)
    assert not sender.dead
    peer.send("one")
    with gevent.Timeout(10):
        while not connection.stats["received_messages"]:
            gevent.sleep(0.001)
    # The hub does meanwhile what it does because of the message.
    gevent.sleep(0.1)
    while peer.message() != last:
        pass
    assert sender.get(timeout=10) is True
    with gevent.Timeout(10):
        while not notes:
            gevent.sleep(0.001)
    assert notes == [b"one"], notes
    peer.close(1000)
    assert peer.closing().code == 1000
    assert runners.join(10)
    """

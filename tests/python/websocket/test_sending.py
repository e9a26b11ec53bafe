from __future__ import annotations

import array
import contextlib
import json
import math
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from dwebsocket import PeerGone, hub, push
from dwebsocket.websocket import endpoint
from tests.python.peer import TIMEOUT, fill, in_thread


class TestOutbox:
    ENGINE = {"outbox_messages": 4, "outbox_bytes": 1_000_000}
    BLOCK = b"x" * 200_000

    def test_a_stranger_closes_a_full_connection(self, pair):
        websocket, _ = pair(engine=self.ENGINE, send_timeout=600)
        fill(websocket)
        # This thread has sent to nobody else, and would wait. A new one is a stranger.
        assert in_thread(lambda: websocket.send(self.BLOCK, True))() is False
        assert websocket.close_code == 1013

    def test_the_view_itself_waits_for_room(self, pair):
        websocket, peer = pair(engine=self.ENGINE)
        endpoint.of(websocket).begin()
        fill(websocket)

        def read() -> None:
            while peer.message() != "last":
                pass

        wait = in_thread(read)
        assert websocket.send(self.BLOCK, True) is True
        assert websocket.send("last") is True
        assert wait() is None

    @pytest.mark.parametrize(
        "call",
        [
            lambda connection: connection.send("x", None, "refuse"),
            lambda connection: connection.ping(),
            lambda connection: connection.stats,
            lambda connection: connection.close(),
        ],
        ids=["send", "ping", "stats", "close"],
    )
    def test_other_threads_run_while_a_message_is_compressed(self, pair, call):
        options = {
            "engine": {"compression_level": 9, "outbox_bytes": 1 << 30},
            "extensions": "permessage-deflate",
        }
        (first, _), (second, _) = pair(**options), pair(**options)
        connection = endpoint.of(second).connection
        # Deflate finds many short matches in it, which takes long.
        large = "".join(random.Random(1).choices("abcd", k=200_000))
        begun = time.monotonic()
        first.send(large)
        alone = time.monotonic() - begun
        sending = in_thread(lambda: second.send(large))
        time.sleep(alone / 8)
        begun = time.monotonic()
        calling = in_thread(lambda: call(connection))
        # Without the interpreter's lock, this thread would go on when all is sent.
        time.sleep(alone / 8)
        assert time.monotonic() - begun < alone / 2
        assert sending() is True
        assert not isinstance(calling(), BaseException)

    def test_the_view_gives_up_on_a_peer_that_reads_nothing(self, pair):
        websocket, _ = pair(engine=self.ENGINE, send_timeout=0.05)
        endpoint.of(websocket).begin()
        fill(websocket)
        waiting = websocket.stats["outbox_messages"]
        assert websocket.send(self.BLOCK, True) is False
        assert websocket.close_code == 1013
        # Those that waited, and the last one.
        assert websocket.stats["dropped_messages"] == waiting + 1

    def test_the_policy_of_a_call_goes_before_the_setting(self, pair):
        websocket, _ = pair(engine=self.ENGINE, overflow="close")
        fill(websocket)
        assert websocket.send(b"new", True, overflow="drop_newest") is False
        assert websocket.send(b"new", True, overflow="block", timeout=0.01) is False
        assert websocket.close_code is None

    @pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
    def test_dropping_keeps_the_connection(self, pair, policy):
        websocket, _ = pair(engine=self.ENGINE, overflow=policy)
        fill(websocket)
        assert websocket.send(b"new", True) is (policy == "drop_oldest")
        assert websocket.close_code is None
        assert websocket.is_closed() is False

    def test_an_unknown_policy_is_refused(self, pair):
        websocket, _ = pair()
        with pytest.raises(ValueError, match="overflow"):
            websocket.send("x", overflow="no such")


class TestIsClosed:
    def test_never_runs_ahead_of_unread_messages(self, pair):
        websocket, peer = pair()
        for text in "abc":
            peer.send(text)
        peer.close()
        got = []
        assert websocket.wait() == b"a"
        while websocket.send("x"):
            pass
        while not websocket.is_closed():
            got.append(websocket.wait())
            websocket.send("x")
        assert got == [b"b", b"c"]

    def test_turns_true_for_a_sender_with_unread_messages(self, pair):
        websocket, peer = pair()
        peer.send("unread")
        peer.close()
        while websocket.send("x"):
            pass
        assert websocket.is_closed() is True

    def test_turns_true_for_a_reader_that_has_become_a_sender(self, pair):
        websocket, peer = pair()
        peer.send("read")
        peer.send("unread")
        peer.close()
        assert websocket.wait() == b"read"
        deadline = time.monotonic() + 10
        while not websocket.is_closed():
            assert time.monotonic() < deadline
            websocket.send("x")


class TestWhoServes:
    """A sender to one connection waits for room; one that sends around does not."""

    ENGINE = {"outbox_messages": 4, "outbox_bytes": 1_000_000}
    BLOCK = b"x" * 200_000

    def late_reader(self, peer):
        """Return what starts a peer that reads only now, until "last"."""

        def read():
            count = 0
            while peer.message() != "last":
                count += 1
            return count

        return lambda: in_thread(read)

    def test_a_helper_thread_waits(self, pair):
        websocket, peer = pair(engine=self.ENGINE)
        stuck = threading.Event()

        def tail():
            for _ in range(3):
                websocket.send(self.BLOCK, True)
            while websocket.stats["outbox_messages"] < 4:
                websocket.send(self.BLOCK, True)
            stuck.set()
            sent = [websocket.send(self.BLOCK, True) for _ in range(60)]
            return all(sent) and websocket.send("last")

        done = in_thread(tail)
        assert stuck.wait(10)
        read = self.late_reader(peer)()
        assert done() is True
        assert read() > 60
        assert websocket.close_code is None

    def test_a_helper_gives_up_on_a_peer_that_reads_nothing(self, pair):
        websocket, _ = pair(engine=self.ENGINE, send_timeout=0.05)

        def tail():
            while websocket.send(self.BLOCK, True):
                pass

        assert in_thread(tail)() is None
        assert websocket.close_code == 1013

    def test_a_pool_waits_for_one_after_the_other(self, pair):
        pairs = [pair(engine=self.ENGINE) for _ in range(3)]
        with ThreadPoolExecutor(1) as pool:

            def download(websocket):
                sent = [websocket.send(self.BLOCK, True) for _ in range(30)]
                return all(sent) and websocket.send("last")

            for websocket, peer in pairs:
                done = pool.submit(download, websocket)
                deadline = time.monotonic() + 10
                while websocket.stats["outbox_messages"] < 4 and not done.done():
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
                read = self.late_reader(peer)()
                assert done.result(10) is True
                assert read() == 30
                assert websocket.close_code is None

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("batch", [1, 3, 20])
    def test_a_loop_over_members_waits_for_nobody(self, pair, place, batch):
        members = [pair()[0] for _ in range(3)]

        def loop():
            for _ in range(3):
                for member in members:
                    for _ in range(batch):
                        member.send("to all")
            # Now one of them has stopped reading.
            members[place], _ = pair(engine=self.ENGINE, send_timeout=60)
            for member in members:
                member.send("to all")
            in_thread(lambda: fill(members[place]))()
            begun = time.monotonic()
            for member in members:
                member.send(self.BLOCK, True)
            return time.monotonic() - begun

        assert in_thread(loop)() < 30
        assert [m.close_code for m in members].count(1013) == 1
        assert members[place].close_code == 1013

    def test_a_new_thread_that_meets_the_full_one_first_does_not_wait(self, pair):
        full, _ = pair(engine=self.ENGINE, send_timeout=60)
        fill(full)
        assert in_thread(lambda: full.send(self.BLOCK, True))() is False
        assert full.close_code == 1013

    def test_a_thread_that_also_publishes_sends_around(self, pair):
        full, _ = pair(engine=self.ENGINE, send_timeout=60)

        def publisher():
            for _ in range(3):
                full.send("x")
                hub.group("test.serves").send("x")
            fill(full)
            hub.group("test.serves").send("x")
            return full.send(self.BLOCK, True)

        assert in_thread(publisher)() is False
        assert full.close_code == 1013

    def test_the_views_thread_that_loops_over_others_waits_for_its_own_only(self, pair):
        own, _ = pair(engine=self.ENGINE, send_timeout=0.05)
        other, _ = pair(engine=self.ENGINE, send_timeout=60)

        def view():
            endpoint.of(own).begin()
            for _ in range(3):
                own.send("x")
                other.send("x")
            fill(other)
            own.send("x")
            return other.send(self.BLOCK, True)

        assert in_thread(view)() is False
        assert (own.close_code, other.close_code) == (None, 1013)


class TestGone:
    """A view that only sends notices the end, or is ended."""

    @pytest.mark.parametrize("modern", [True, False])
    @pytest.mark.parametrize("end", ["close", "drop", "reset"])
    @pytest.mark.parametrize("unread", [0, 1, 300])
    def test_is_closed_turns_true_for_a_loop_that_only_sends(
        self, pair, modern, end, unread
    ):
        # So long does a failed write wait for what the client has sent before.
        websocket, peer = pair(modern=modern, tcp=True, engine={"close_timeout": 1.0})
        for _ in range(unread):
            peer.send("unread")
        if unread:
            deadline = time.monotonic() + 10
            while not websocket.has_messages():
                assert time.monotonic() < deadline
        getattr(peer, end)()
        if unread > 256:
            # Nothing is read any more, no Close frame either: browsers give up then.
            peer.drop()
        deadline = time.monotonic() + 20
        while not websocket.is_closed():
            assert time.monotonic() < deadline
            websocket.send("x" * 1000)
            time.sleep(0.001)

    @pytest.mark.parametrize("modern", [True, False])
    def test_is_closed_waits_for_a_reader_that_sends(self, pair, modern):
        websocket, peer = pair(modern=modern)
        for text in "abcd":
            peer.send(text)
        peer.close()
        got = [websocket.wait()]
        while websocket.send("x"):
            pass
        while not websocket.is_closed():
            got.append(websocket.wait())
            websocket.send("x")
        assert [m if modern else m.decode() for m in got if m] == list("abcd")

    def own(self, pair, **options):
        websocket, peer = pair(**options)
        endpoint.of(websocket).begin(gone_timeout=0.05)
        peer.drop()
        while websocket.send("x"):
            pass
        return websocket

    @pytest.mark.parametrize("modern", [True, False])
    @pytest.mark.parametrize(
        "call", ["send", "wait", "read", "receive", "count", "mixed"]
    )
    def test_ends_a_view_that_overlooks_everything(self, pair, modern, call):
        websocket = self.own(pair, modern=modern)
        calls = {
            "send": [lambda: websocket.send("x"), lambda: time.sleep(0.001)],
            "wait": [lambda: websocket.wait(1)],
            "read": [websocket.wait, websocket.read],
            "receive": [websocket.receive],
            "count": [websocket.has_messages, lambda: time.sleep(0.001)],
            "mixed": [websocket.wait, lambda: websocket.send_json([1])],
        }[call]

        def loop():
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                for function in calls:
                    with contextlib.suppress(Exception):
                        function()

        with pytest.raises(PeerGone, match="gone"):
            loop()
        # Not again at once.
        assert websocket.send("x") is False

    def vain(self, websocket, seconds=0.2):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            websocket.send("x")
            time.sleep(0.001)
        for _ in range(10):
            websocket.send("x")
        return True

    def test_names_the_code_that_catches_that(self, pair, caplog):
        websocket = self.own(pair)

        def stubborn():
            swallowed = 0
            end = time.monotonic() + 20
            while swallowed < 4 and time.monotonic() < end:
                try:
                    websocket.send("x")
                except BaseException:
                    swallowed += 1
                time.sleep(0.001)
            return swallowed

        assert stubborn() == 4
        # Once, and not the first time: that is for who runs the view.
        [record] = [r for r in caplog.records if r.name == "dwebsocket.view"]
        assert f"{__name__}.stubborn (line " in record.getMessage()
        assert "except Exception" in record.getMessage()

    def test_never_ends_another_thread(self, pair):
        websocket = self.own(pair)
        assert in_thread(lambda: self.vain(websocket))() is True

    def test_can_be_turned_off(self, pair):
        websocket = self.own(pair)
        endpoint.of(websocket).begin(gone_timeout=None)
        assert self.vain(websocket) is True

    @pytest.mark.parametrize("others", ["websocket", "group", "all"])
    def test_never_ends_a_view_that_sends_to_others(self, pair, others):
        websocket = self.own(pair)
        other, _ = pair()
        send = {
            "websocket": lambda: other.send("x"),
            "group": lambda: hub.group("test.gone").send("x"),
            "all": lambda: push.to_all("x"),
        }[others]
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            websocket.send("x")
            send()
            time.sleep(0.001)

    def test_never_ends_a_view_that_still_reads(self, pair):
        websocket, peer = pair()
        endpoint.of(websocket).begin(gone_timeout=0.01)
        for _ in range(20):
            peer.send("unread")
        peer.close()
        got = 0
        while websocket.wait() is not None:
            got += 1
            if got > 3:
                websocket.send("an answer")
                time.sleep(0.005)
        assert got == 20


def lone():
    return json.loads('"half \\ud83d"')


class TestArguments:
    """What send() takes; tests/python/test_arguments.py has timeouts and codes."""

    MESSAGES = [
        ("text", "text"),
        (SafeString("safe"), "safe"),
        (type("Text", (str,), {})("subclass"), "subclass"),
        (gettext_lazy("lazy"), "lazy"),
        ("half \ud83d", "half \ufffd"),
        ("\udc00 half", "\ufffd half"),
        ("\ud83d\ude00", "\U0001f600"),
        (lone(), "half \ufffd"),
        ("", ""),
        (b"bytes", b"bytes"),
        (bytearray(b"array"), b"array"),
        (memoryview(b"view"), b"view"),
        (memoryview(b"v-i-e-w")[::2], b"view"),
        (memoryview(array.array("H", [0x6161])), b"aa"),
        (b"", b""),
        (type("Bytes", (bytes,), {})(b"sub"), b"sub"),
    ]

    @pytest.mark.parametrize("modern", [True, False])
    @pytest.mark.parametrize("overflow", [None, "block"])
    @pytest.mark.parametrize(("given", "expected"), MESSAGES)
    def test_messages(self, pair, modern, overflow, given, expected):
        websocket, peer = pair(modern=modern)
        assert websocket.send(given, overflow=overflow) is True
        if isinstance(expected, bytes) and not modern:
            expected = expected.decode()
        assert peer.message() == expected

    @pytest.mark.parametrize("modern", [True, False])
    @pytest.mark.parametrize(
        "wrong",
        [
            None,
            1,
            1.5,
            True,
            {},
            [],
            (),
            {1},
            object(),
            array.array("b", b"x"),
            Decimal(1),
        ],
    )
    def test_what_is_no_message(self, pair, modern, wrong):
        websocket, peer = pair(modern=modern)
        for options in ({}, {"overflow": "block"}):
            with pytest.raises(TypeError, match=r"str, bytes.*send_json\(\)"):
                websocket.send(wrong, **options)
        websocket.send("still open")
        assert peer.message() == "still open"

    @pytest.mark.parametrize("modern", [True, False])
    @pytest.mark.parametrize(
        "wrong", [math.nan, math.inf, -math.inf, [{"a": math.nan}]]
    )
    def test_numbers_that_json_has_no_form_for(self, pair, modern, wrong):
        websocket, peer = pair(modern=modern)
        for send in (
            websocket.send_json,
            hub.group("test.nan").send_json,
            lambda data: push.to_all([data]),
            lambda data: websocket.join("test.nan", info=[data]),
        ):
            with pytest.raises(ValueError, match="JSON"):
                send(wrong)
        websocket.send_json({"still": "open"})
        assert json.loads(peer.message()) == {"still": "open"}

    def test_json_with_half_a_pair(self, pair):
        websocket, peer = pair()
        websocket.send_json([lone()], ensure_ascii=False)
        assert peer.message() == '["half \ufffd"]'
        websocket.send_json([lone()])
        assert json.loads(peer.message()) == [lone()]

    def test_json_that_is_none_is_not_received(self, pair):
        websocket, peer = pair(modern=True)
        peer.send("[NaN]")
        with pytest.raises(ValueError, match="NaN"):
            websocket.receive_json(5)

    @pytest.mark.parametrize("text", ["half \ud83d", gettext_lazy("lazy")])
    def test_to_a_group(self, pair, text):
        websocket, peer = pair()
        websocket.join("test.half")
        expected = str(text).replace("\ud83d", "\ufffd")
        hub.group("test.half").send(text)
        assert peer.message() == expected
        push.to_group("test.half", text)
        assert peer.message() == expected

    @pytest.mark.parametrize(
        ("payload", "expected"),
        [
            ("text", b"text"),
            (b"bytes", b"bytes"),
            (bytearray(b"array"), b"array"),
            (memoryview(b"v-i-e-w")[::2], b"view"),
            ("\ud83d", "\ufffd".encode()),
            (gettext_lazy("lazy"), b"lazy"),
        ],
    )
    def test_pings(self, pair, payload, expected):
        websocket, peer = pair()
        assert websocket.ping(payload) is True
        assert peer.frame().data == expected

    @pytest.mark.parametrize("wrong", [5, 1.5, True, [1]])
    def test_what_is_no_ping(self, pair, wrong):
        websocket, _ = pair()
        with pytest.raises(TypeError, match="payload"):
            websocket.ping(wrong)
        with pytest.raises(ValueError, match="125"):
            websocket.ping("x" * 126)


class TestCompression:
    def test_other_threads_run_while_a_message_is_compressed(self, pair):
        websocket, _ = pair(
            engine={"compression_level": 9}, extensions="permessage-deflate"
        )
        message = json.dumps([number**3 for number in range(2000)])
        assert 4 * 1024 <= len(message) < 32 * 1024
        began, ran, gate = threading.Event(), threading.Event(), threading.Lock()

        def other() -> None:
            began.set()
            with gate:
                ran.set()

        interval = sys.getswitchinterval()
        with gate:
            wait = in_thread(other)
            assert began.wait(TIMEOUT)
            # From now on, no thread takes the interpreter from the sender.
            sys.setswitchinterval(1000)
        try:
            deadline = time.monotonic() + TIMEOUT
            while not ran.is_set() and time.monotonic() < deadline:
                websocket.send(message, overflow="drop_newest")
            alone = not ran.is_set()
        finally:
            sys.setswitchinterval(interval)
        wait()
        assert not alone

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.frames import Opcode

from dwebsocket import ReceiveTimeout, WebSocketClosed, WebSocketEOF
from dwebsocket.backends.default.websocket import DefaultWebSocket
from dwebsocket.websocket import WebSocket

from .peer import TIMEOUT, ready

ENDINGS = ["close", "drop", "reset"]


def end(peer: Any, how: str) -> None:
    getattr(peer, how)()


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start a call in a thread; return a function that waits for its result."""
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(function())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(TIMEOUT)
        assert result, "still running"
        return result[0]

    return wait


class TestMessages:
    @pytest.mark.parametrize(
        ("modern", "sent", "received"),
        [
            (False, "é", "é".encode()),
            (False, b"\xff\x00", b"\xff\x00"),
            (False, "", b""),
            (True, "é", "é"),
            (True, b"\xff\x00", b"\xff\x00"),
            (True, "", ""),
        ],
    )
    def test_arrive_with_the_type_of_the_dialect(self, pair, modern, sent, received):
        websocket, peer = pair(modern=modern)
        peer.send(sent)
        message = websocket.wait()
        assert message == received
        assert type(message) is type(received)

    @pytest.mark.parametrize(
        ("modern", "sent", "received"),
        [
            (False, "é", "é"),
            (False, b'{"a": 1}', '{"a": 1}'),
            (False, "é".encode(), "é"),
            (False, b"\xff\x00", b"\xff\x00"),
            (False, bytearray(b"x"), "x"),
            (False, memoryview(b"\xfe"), b"\xfe"),
            (True, "é", "é"),
            (True, b"abc", b"abc"),
            (True, bytearray(b"abc"), b"abc"),
            (True, memoryview(b"abc"), b"abc"),
        ],
    )
    def test_go_out_with_the_type_of_the_dialect(self, pair, modern, sent, received):
        websocket, peer = pair(modern=modern)
        assert websocket.send(sent) is True
        assert peer.message() == received

    @pytest.mark.parametrize("modern", [False, True])
    def test_go_out_as_the_type_asked_for(self, pair, modern):
        websocket, peer = pair(modern=modern)
        websocket.send(b"abc", binary=False)
        websocket.send("abc", binary=True)
        websocket.send(b"abc", True)
        assert [peer.message() for _ in range(3)] == ["abc", b"abc", b"abc"]

    def test_a_subclass_of_str_is_text(self, pair):
        websocket, peer = pair(modern=True)
        websocket.send(type("Text", (str,), {})("abc"))
        assert peer.message() == "abc"

    @pytest.mark.parametrize("value", [1, 1.5, True, None, {}, [], ()])
    def test_of_other_types_are_refused_and_the_socket_goes_on(self, pair, value):
        websocket, peer = pair()
        with pytest.raises(TypeError):
            websocket.send(value)
        websocket.send("still here")
        assert peer.message() == "still here"

    def test_of_other_types_are_refused_after_the_end_too(self, pair):
        websocket, _ = pair()
        websocket.close()
        with pytest.raises(TypeError):
            websocket.send(1)

    def test_are_put_together_from_fragments(self, pair):
        websocket, peer = pair()
        peer.send_frame(Opcode.TEXT, b"a", fin=False)
        peer.send_frame(Opcode.PING, b"between")
        peer.send_frame(Opcode.CONT, b"b", fin=False)
        peer.send_frame(Opcode.CONT, b"c")
        assert websocket.wait() == b"abc"

    def test_invalid_utf8_is_delivered_in_the_classic_dialect(self, pair):
        websocket, peer = pair()
        peer.send_frame(Opcode.TEXT, b"a\xff")
        assert websocket.wait() == b"a\xff"

    def test_invalid_utf8_fails_the_connection_in_the_modern_one(self, pair):
        websocket, peer = pair(modern=True)
        peer.send_frame(Opcode.TEXT, b"a\xff")
        assert websocket.wait() is None
        assert peer.closing().code == 1007
        assert websocket.close_code == 1007

    def test_from_many_threads_are_never_mixed(self, pair):
        websocket, peer = pair()
        bodies = [letter * 50_000 for letter in "abcdefgh"]
        waits = [in_thread(lambda body=body: websocket.send(body)) for body in bodies]
        assert sorted(peer.message() for _ in bodies) == bodies
        assert [wait() for wait in waits] == [True] * len(bodies)

    def test_json_both_ways(self, pair):
        websocket, peer = pair()
        websocket.send_json({"grüße": [1, None]}, ensure_ascii=False)
        assert peer.message() == '{"grüße": [1, null]}'
        peer.send('{"a": [true]}')
        assert websocket.receive_json() == {"a": [True]}


class TestWait:
    @pytest.mark.parametrize("modern", [False, True])
    def test_returns_none_on_a_timeout_and_keeps_the_connection(self, pair, modern):
        websocket, peer = pair(modern=modern)
        begin = time.monotonic()
        assert websocket.wait(0.05) is None
        assert websocket.wait(timeout=0) is None
        assert 0.05 <= time.monotonic() - begin < 5
        assert websocket.is_closed() is False
        peer.send(b"x")
        assert websocket.wait(timeout=TIMEOUT) == b"x"

    def test_takes_a_negative_timeout_for_none(self, pair):
        websocket, peer = pair()
        wait = in_thread(lambda: websocket.wait(-1))
        peer.send("x")
        assert wait() == b"x"

    def test_read_returns_the_fallback_and_never_blocks(self, pair):
        websocket, peer = pair()
        assert websocket.read() is None
        assert websocket.read("nothing") == "nothing"
        peer.send("x")
        ready(websocket)
        assert websocket.read("nothing") == b"x"

    def test_messages_are_counted(self, pair):
        websocket, peer = pair()
        assert websocket.has_messages() is False
        assert websocket.count_messages() == 0
        peer.send("a")
        ready(websocket)
        assert websocket.has_messages() is True
        assert websocket.count_messages() == 1
        assert websocket.wait() == b"a"

    @pytest.mark.parametrize("modern", [False, True])
    def test_receive_raises_on_a_timeout(self, pair, modern):
        websocket, peer = pair(modern=modern)
        with pytest.raises(ReceiveTimeout) as caught:
            websocket.receive(timeout=0.01)
        assert isinstance(caught.value, TimeoutError)
        peer.send(b"x")
        assert websocket.receive(timeout=TIMEOUT) == b"x"

    @pytest.mark.parametrize("modern", [False, True])
    def test_receive_raises_at_the_end_with_code_and_reason(self, pair, modern):
        websocket, peer = pair(modern=modern)
        peer.send("last")
        peer.close(4001, "enough")
        assert websocket.receive() in ("last", b"last")
        for _ in range(2):
            with pytest.raises(WebSocketClosed) as caught:
                websocket.receive()
            assert (caught.value.code, caught.value.reason) == (4001, "enough")
        assert isinstance(caught.value, ConnectionError)
        assert websocket.is_closed() is True

    def test_receive_raises_after_a_local_close(self, pair):
        websocket, _ = pair()
        websocket.close(4000)
        with pytest.raises(WebSocketClosed):
            websocket.receive()


@pytest.mark.parametrize("how", ENDINGS)
class TestClassicDisconnect:
    """The table of the compatibility contract, row by row."""

    def ended(self, pair: Any, how: str) -> Any:
        websocket, peer = pair(tcp=how == "reset")
        end(peer, how)
        ready(websocket)
        return websocket

    def test_wait_returns_none_once_then_raises(self, pair, how):
        websocket = self.ended(pair, how)
        assert websocket.wait() is None
        for _ in range(2):
            with pytest.raises(EOFError):
                websocket.wait()

    def test_iteration_yields_a_final_none_then_raises(self, pair, how):
        websocket = self.ended(pair, how)
        assert list(websocket) == [None]
        with pytest.raises(EOFError):
            list(websocket)

    def test_read_returns_none_not_the_fallback_then_raises(self, pair, how):
        websocket = self.ended(pair, how)
        assert websocket.read("fallback") is None
        with pytest.raises(EOFError):
            websocket.read("fallback")

    def test_the_final_none_is_counted_then_raises(self, pair, how):
        websocket = self.ended(pair, how)
        assert websocket.has_messages() is True
        assert websocket.count_messages() == 1
        assert websocket.wait() is None
        with pytest.raises(EOFError):
            websocket.has_messages()
        with pytest.raises(EOFError):
            websocket.count_messages()

    def test_only_one_none_through_whichever_call(self, pair, how):
        websocket = self.ended(pair, how)
        assert websocket.read() is None
        with pytest.raises(EOFError):
            websocket.wait()

    def test_is_closed_once_the_end_was_read(self, pair, how):
        websocket = self.ended(pair, how)
        assert websocket.is_closed() is False
        websocket.wait()
        assert websocket.is_closed() is True
        assert websocket.is_close() is True
        assert websocket.closed is True

    def test_send_does_nothing(self, pair, how):
        websocket = self.ended(pair, how)
        # Until the server has said Close too, a message may still go out.
        while websocket.send("x"):
            pass
        websocket.wait()
        assert websocket.send(b"x") is False
        assert in_thread(lambda: websocket.send("x"))() is False

    def test_is_closed_for_a_loop_that_only_sends(self, pair, how):
        websocket = self.ended(pair, how)
        while not websocket.is_closed():
            websocket.send("tick")

    def test_local_close_afterwards(self, pair, how):
        websocket = self.ended(pair, how)
        websocket.wait()
        websocket.close()
        assert websocket.wait() is None
        assert websocket.wait() is None


class TestClassicLocalClose:
    def test_each_call(self, pair):
        websocket, peer = pair()
        peer.send("unread")
        ready(websocket)
        websocket.close()
        assert websocket.is_closed() is True
        assert websocket.wait() is None
        assert websocket.wait() is None
        assert list(websocket) == [None]
        for call in (
            websocket.read,
            websocket.has_messages,
            websocket.count_messages,
        ):
            with pytest.raises(EOFError):
                call()
        assert websocket.send("x") is False

    def test_a_waiter_in_another_thread_gets_none(self, pair):
        websocket, _ = pair()
        wait = in_thread(websocket.wait)
        assert websocket.wait(0.05) is None
        websocket.close()
        assert wait() is None

    def test_loops_that_overlook_the_end_are_slowed_down(self, pair):
        websocket, peer = pair()
        peer.close()
        assert websocket.wait() is None
        times = []
        for _ in range(5):
            begin = time.monotonic()
            with pytest.raises(WebSocketEOF):
                websocket.wait()
            times.append(time.monotonic() - begin)
        assert all(taken < 0.05 for taken in times[:2])
        assert all(0.05 <= taken < 1 for taken in times[2:])


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
        for _ in range(10_000):
            websocket.send("x")
            if websocket.is_closed():
                break
        assert websocket.is_closed() is True


@pytest.mark.parametrize("how", ENDINGS)
class TestModernDisconnect:
    def test_wait_returns_none_for_ever(self, pair, how):
        websocket, peer = pair(modern=True, tcp=how == "reset")
        end(peer, how)
        assert [websocket.wait() for _ in range(4)] == [None] * 4
        assert websocket.is_closed() is True

    def test_iteration_just_ends(self, pair, how):
        websocket, peer = pair(modern=True, tcp=how == "reset")
        end(peer, how)
        assert list(websocket) == []
        assert list(websocket) == []

    def test_nothing_is_left_to_count(self, pair, how):
        websocket, peer = pair(modern=True, tcp=how == "reset")
        end(peer, how)
        ready(websocket)
        assert websocket.count_messages() == 0
        assert websocket.has_messages() is False
        assert websocket.read("fallback") == "fallback"


class TestModernClose:
    def test_messages_before_the_end_are_read_first(self, pair):
        websocket, peer = pair(modern=True)
        peer.send("a")
        peer.send("b")
        peer.close()
        assert list(websocket) == ["a", "b"]

    def test_after_a_local_close(self, pair):
        websocket, _ = pair(modern=True)
        websocket.close()
        assert websocket.wait() is None
        assert websocket.read("fallback") == "fallback"
        assert websocket.count_messages() == 0
        assert list(websocket) == []


class TestClose:
    def test_is_idempotent_and_defaults_to_1000(self, pair):
        websocket, peer = pair()
        websocket.close()
        websocket.close(4000, "again")
        assert peer.closing().code == 1000
        with pytest.raises(EOFError):
            peer.frame()

    @pytest.mark.parametrize("reason", ["bye", b"bye"])
    def test_sends_code_and_reason(self, pair, reason):
        websocket, peer = pair()
        websocket.close(4002, reason)
        closing = peer.closing()
        assert (closing.code, closing.reason) == (4002, "bye")

    def test_cuts_a_long_reason_between_characters(self, pair):
        websocket, peer = pair()
        websocket.close(1000, "é" * 100)
        assert peer.closing().reason == "é" * 61

    def test_refuses_a_code_that_may_not_be_sent(self, pair):
        websocket, peer = pair()
        with pytest.raises(ValueError, match="1005|code"):
            websocket.close(1005)
        websocket.send("still open")
        assert peer.message() == "still open"

    def test_the_peers_code_is_echoed_and_told(self, pair):
        websocket, peer = pair()
        assert websocket.close_code is None
        peer.close(4003, "done")
        assert websocket.wait() is None
        assert (websocket.close_code, websocket.close_reason) == (4003, "done")
        assert peer.closing().code == 4003

    def test_a_peer_that_vanishes_leaves_1006(self, pair):
        websocket, peer = pair()
        peer.drop()
        assert websocket.wait() is None
        assert websocket.close_code == 1006

    def test_setting_closed_closes(self, pair):
        websocket, peer = pair()
        websocket.closed = False
        assert websocket.is_closed() is False
        websocket.closed = True
        assert peer.closing().code == 1000


class TestOutbox:
    ENGINE = {"outbox_messages": 4, "outbox_bytes": 1_000_000}
    BLOCK = b"x" * 200_000

    def fill(self, websocket: Any) -> None:
        while websocket.send(self.BLOCK, True, overflow="refuse"):
            pass

    def test_a_stranger_closes_a_full_connection(self, pair):
        websocket, _ = pair(engine=self.ENGINE)
        self.fill(websocket)
        assert websocket.send(self.BLOCK, True) is False
        assert websocket.close_code == 1013

    def test_the_view_itself_waits_for_room(self, pair):
        websocket, peer = pair(engine=self.ENGINE)
        websocket._owner = threading.get_ident()
        self.fill(websocket)

        def read() -> None:
            while peer.message() != "last":
                pass

        wait = in_thread(read)
        assert websocket.send(self.BLOCK, True) is True
        assert websocket.send("last") is True
        assert wait() is None

    def test_the_view_gives_up_on_a_peer_that_reads_nothing(self, pair):
        websocket, _ = pair(engine=self.ENGINE, send_timeout=0.05)
        websocket._owner = threading.get_ident()
        self.fill(websocket)
        assert websocket.send(self.BLOCK, True) is False
        assert websocket.close_code == 1013

    def test_the_policy_of_a_call_goes_before_the_setting(self, pair):
        websocket, _ = pair(engine=self.ENGINE, overflow="close")
        self.fill(websocket)
        assert websocket.send(b"new", True, overflow="drop_newest") is False
        assert websocket.send(b"new", True, overflow="block", timeout=0.01) is False
        assert websocket.close_code is None

    @pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
    def test_dropping_keeps_the_connection(self, pair, policy):
        websocket, _ = pair(engine=self.ENGINE, overflow=policy)
        self.fill(websocket)
        assert websocket.send(b"new", True) is (policy == "drop_oldest")
        assert websocket.close_code is None
        assert websocket.is_closed() is False

    def test_an_unknown_policy_is_refused(self, pair):
        websocket, _ = pair()
        with pytest.raises(ValueError, match="overflow"):
            websocket.send("x", overflow="no such")


class TestSurface:
    def test_is_itself_and_nothing_else(self, pair):
        one, other = pair()[0], pair()[0]
        assert one != other
        assert len({one, other}) == 2
        assert str(one) == str(one) != str(other)
        assert one.id != other.id

    def test_is_a_real_class(self, pair):
        websocket, _ = pair()
        assert isinstance(websocket, WebSocket)
        assert isinstance(websocket, DefaultWebSocket)
        websocket.user = "somebody"
        assert websocket.user == "somebody"

    def test_keepalive_measures_the_latency(self, pair):
        websocket, peer = pair(engine={"ping_interval": 0.01})
        assert websocket.latency is None
        assert peer.frame().opcode is Opcode.PING
        peer.send("after")
        assert websocket.wait() == b"after"
        assert 0 < websocket.latency < TIMEOUT

    def test_ping(self, pair):
        websocket, peer = pair()
        assert websocket.ping("payload") is True
        ping = peer.frame()
        assert (ping.opcode, bytes(ping.data)) == (Opcode.PING, b"payload")
        with pytest.raises(ValueError, match="125"):
            websocket.ping(b"x" * 126)

    def test_counts(self, pair):
        websocket, peer = pair()
        peer.send("x")
        websocket.wait()
        assert websocket.stats["received_messages"] == 1

    def test_fileno_is_readable_while_something_waits(self, pair):
        websocket, peer = pair()
        fd = websocket.fileno()
        assert select.select([fd], [], [], 0)[0] == []
        peer.send("x")
        assert select.select([fd], [], [], TIMEOUT)[0] == [fd]
        assert websocket.wait() == b"x"
        assert select.select([fd], [], [], 0)[0] == []
        peer.close()
        assert select.select([fd], [], [], TIMEOUT)[0] == [fd]

    def test_can_read(self, pair):
        websocket, peer = pair()
        assert websocket.can_read() is False
        peer.send("x")
        assert websocket.can_read(TIMEOUT) is True
        websocket.close()
        assert websocket.can_read() is True

    def test_accept_connection_does_nothing(self, pair):
        websocket, peer = pair()
        websocket.accept_connection()
        websocket.send("x")
        assert peer.message() == "x"

    def test_handle_is_called_with_opcode_and_data(self, pair):
        websocket, peer = pair()
        calls = []
        websocket.handle = lambda opcode, data: calls.append((opcode, data))
        peer.send("text")
        peer.send(b"\xff")
        assert websocket.wait() == b"text"
        ready(websocket)
        assert websocket.read() == b"\xff"
        peer.close()
        assert websocket.wait() is None
        assert calls == [(1, b"text"), (2, b"\xff"), (8, None)]

    def test_handle_in_the_modern_dialect(self, pair):
        websocket, peer = pair(modern=True)
        calls = []
        websocket.handle = lambda opcode, data: calls.append((opcode, data))
        peer.send("text")
        peer.send(b"binary")
        websocket.wait()
        websocket.wait()
        assert calls == [(1, "text"), (2, b"binary")]

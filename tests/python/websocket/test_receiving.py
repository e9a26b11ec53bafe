from __future__ import annotations

import time
from typing import Any

import pytest

from dwebsocket import ReceiveTimeout, WebSocketClosed, WebSocketEOF
from tests.python.peer import TIMEOUT, in_thread, ready

ENDINGS = ["close", "drop", "reset"]


def end(peer: Any, how: str) -> None:
    getattr(peer, how)()


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
        with pytest.raises(WebSocketClosed) as caught:
            websocket.receive()
        assert caught.value.code == 4000

    def test_receive_takes_a_negative_timeout_for_none(self, pair):
        websocket, peer = pair()
        wait = in_thread(lambda: websocket.receive(-1))
        peer.send("x")
        assert wait() == b"x"


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

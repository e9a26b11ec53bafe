from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from .peer import in_thread


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

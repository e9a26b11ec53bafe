from __future__ import annotations

import queue
import select
from unittest.mock import create_autospec

import pytest
from websockets.frames import Opcode

from dwebsocket import accept_websocket
from dwebsocket.backends.default.websocket import DefaultWebSocket
from dwebsocket.logins import watching
from dwebsocket.websocket import WebSocket, endpoint
from tests.python.peer import TIMEOUT, in_thread, ready


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

    @pytest.mark.parametrize("arguments", [(0,), ("", ""), (None, b""), (False,)])
    def test_nothing_as_a_code_is_1000_as_in_the_old_package(self, pair, arguments):
        websocket, peer = pair()
        websocket.close(*arguments)
        assert peer.closing().code == 1000

    def test_nothing_as_a_code_is_no_code_in_the_modern_dialect(self, pair):
        websocket, _ = pair(modern=True)
        with pytest.raises(ValueError, match="close code"):
            websocket.close(0)

    def test_setting_closed_closes(self, pair):
        websocket, peer = pair()
        websocket.closed = False
        assert websocket.is_closed() is False
        websocket.closed = True
        assert peer.closing().code == 1000


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

    def test_pings_that_nobody_reads_do_not_pile_up(self, pair):
        websocket, _ = pair(engine={"outbox_bytes": 1 << 20})
        while websocket.send(b"x" * 65536, overflow="drop_newest"):
            pass
        before = websocket.stats["outbox_bytes"]
        assert sum(websocket.ping(b"p" * 125) for _ in range(1000)) == 64
        assert websocket.stats["outbox_bytes"] - before == 64 * 127
        endpoint.of(websocket).connection.abort()
        assert websocket.ping() is False

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


class TestAttributesOfOldCode:
    NAMES = (
        "id",
        "member_id",
        "groups",
        "stats",
        "latency",
        "close_code",
        "close_reason",
        "subprotocol",
        "remote_address",
        "user",
    )

    @pytest.mark.parametrize("name", NAMES)
    def test_can_have_any_name(self, pair, name):
        websocket, peer = pair()
        other, _ = pair()
        before = getattr(other, name, None)
        setattr(websocket, name, "room 1")
        assert getattr(websocket, name) == "room 1"
        assert getattr(other, name, None) == before
        websocket.send("x")
        assert peer.message() == "x"
        peer.close(4001)
        assert websocket.wait() is None

    def test_may_hide_the_id_while_the_login_is_watched(self, site):
        results = queue.Queue()

        @accept_websocket(recheck_interval=600)
        def view(request):
            request.websocket.id = "ana"
            request.websocket.watch(300)
            request.websocket.send("here")
            results.put(request.websocket.wait())

        running = site({"": view})
        with running.connect() as first, running.connect() as second:
            assert (first.recv(timeout=10), second.recv(timeout=10)) == ("here",) * 2
            assert len(watching.watcher._watches) == 2
        assert [results.get(timeout=TIMEOUT) for _ in range(2)] == [None, None]

    def test_are_documented_on_the_class(self):
        assert "number" in WebSocket.id.__doc__
        assert create_autospec(WebSocket).id is not None

"""The rest of the surface of a WebSocket, points 1 to 5."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import frames
from .harness import Server
from .reports import Channel
from .scripting import Script, kinds, raised
from .specs import CONTRACT

pytestmark = pytest.mark.parametrize("server", CONTRACT, indirect=True)

# 1. wait and read


@kinds
@pytest.mark.parametrize("seconds", [0.2, 1], ids=["float", "int"])
@pytest.mark.parametrize("keyword", [False, True], ids=["positional", "keyword"])
def test_wait_times_out_with_none_and_keeps_the_connection(
    server: Server, report: Channel, seconds: float, keyword: bool
):
    argument = {"timeout": seconds} if keyword else seconds
    ops: list[list[Any]] = [["timed_wait", argument], ["is_closed"], ["wait"]]
    script = Script(server, report, *ops, ["send", "y"])
    message, elapsed = script.outcome(0)
    assert message is None
    assert elapsed >= seconds * 0.95
    assert script.outcome(1) is False
    script.client.send("x")
    assert script.outcome(2) == b"x"
    assert script.client.receive() == "y"


@kinds
def test_wait_without_a_timeout_waits(server: Server, report: Channel):
    script = Script(server, report, ["wait"])
    # Other requests come and go meanwhile.
    for _ in range(3):
        assert server.get("/ping").body == b"pong"
    assert report.none()
    script.client.send("at last")
    assert script.outcomes() == [b"at last"]


@kinds
def test_read_never_blocks(server: Server, report: Channel):
    script = Script(
        server,
        report,
        *(["read"], ["read", "fallback"], ["read", {"fallback": "f"}], ["poll"]),
        *(["read", "fallback"], ["read", "fallback"], ["is_closed"]),
    )
    assert [script.outcome(n) for n in range(3)] == [None, "fallback", "f"]
    script.client.send("x")
    assert script.outcomes()[4:] == [b"x", "fallback", False]


@kinds
def test_counting_messages(server: Server, report: Channel):
    script = Script(
        server,
        report,
        *(["has_messages"], ["count_messages"], ["poll"], ["has_messages"], ["wait"]),
        *(["has_messages"], ["count_messages"]),
    )
    assert script.outcome(0) is False
    assert script.outcome(1) == 0
    script.client.send("x")
    assert script.outcomes()[3:] == [True, b"x", False, 0]


@kinds
def test_fragments_are_reassembled_around_a_ping(server: Server, report: Channel):
    script = Script(server, report, ["wait"], ["wait"])
    client = script.client
    client.frame(frames.TEXT, "gr\u00fc".encode()[:3], fin=False)
    client.frame(frames.CONTINUATION, b"", fin=False)
    client.frame(frames.PING, b"between")
    client.frame(frames.CONTINUATION, "gr\u00fc".encode()[3:])
    assert client.read_frame() == frames.Frame(frames.PONG, b"between")
    client.frame(frames.BINARY, b"\x01", fin=False)
    client.frame(frames.CONTINUATION, b"\x02")
    assert script.outcomes() == ["gr\u00fc".encode(), b"\x01\x02"]


@kinds
def test_an_empty_message_is_a_message(server: Server, report: Channel):
    script = Script(server, report, ["wait"], ["wait"], ["read", "fallback"])
    script.client.send("")
    script.client.send(b"")
    assert script.outcomes() == [b"", b"", "fallback"]


@kinds
def test_pings_are_answered_and_pongs_ignored(server: Server, report: Channel):
    script = Script(server, report, ["wait"])
    script.client.frame(frames.PONG, b"unasked")
    script.client.frame(frames.PING, b"p" * 125)
    assert script.client.read_frame() == frames.Frame(frames.PONG, b"p" * 125)
    script.client.send("x")
    assert script.outcomes() == [b"x"]


# 2. send


@kinds
@pytest.mark.parametrize(
    "value", [1, 1.5, True, None, {"a": 1}, ["a"]], ids=lambda value: repr(value)
)
def test_sending_what_is_no_message_is_a_type_error(
    server: Server, report: Channel, value: Any
):
    script = Script(server, report, ["send_value", value], ["send", "still usable"])
    assert script.client.receive() == "still usable"
    assert raised(script.outcome(0), "TypeError")


def test_many_threads_may_send_at_once(server: Server):
    client = server.open("/threads?threads=8&each=40&size=20000")
    counts: dict[str, int] = {}
    while (message := client.receive()) != "done":
        assert isinstance(message, str)
        assert message == message[0] * 20_000, "frames were interleaved"
        counts[message[0]] = counts.get(message[0], 0) + 1
    assert counts == dict.fromkeys("abcdefgh", 40)
    client.close()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_000_000])
def test_messages_of_every_length_class_arrive(server: Server, size: int):
    client = server.open(f"/push?size={size}")
    message = client.receive()
    assert len(message) == size
    assert message == ("0123456789abcdef" * (size // 16 + 1))[:size]
    client.close()


def test_a_websocket_whose_view_has_returned_takes_calls_and_does_nothing(
    server: Server, report: Channel
):
    client = server.open(f"/keep?key={report.key}")
    assert client.answer_close().close_code == 1000
    outcome = json.loads(server.get(f"/poke?key={report.key}").body)
    assert outcome == {"before": True, "after": True}


# 3. close


@kinds
@pytest.mark.parametrize(
    ("op", "code", "reason"),
    [
        (["close"], 1000, ""),
        (["close", 1001], 1001, ""),
        (["close", 4000, "grüße"], 4000, "grüße"),
        (["close", {"code": 3000, "reason": "by name"}], 3000, "by name"),
        (["close_with", 4000, "as bytes"], 4000, "as bytes"),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_close_sends_code_and_reason(
    server: Server, report: Channel, op: list[Any], code: int, reason: str
):
    script = Script(server, report, op, ["close"], ["close", 4001], ["is_closed"])
    frame = script.client.answer_close()
    assert (frame.close_code, frame.close_reason) == (code, reason)
    assert script.outcomes() == [None, None, None, True]


@kinds
def test_close_works_from_any_thread_and_twice(server: Server, report: Channel):
    script = Script(server, report, ["close_in_thread"])
    assert script.client.answer_close().close_code == 1000
    assert script.outcomes() == [True]


@kinds
def test_what_was_sent_before_the_close_arrives_before_it(
    server: Server, report: Channel
):
    script = Script(server, report, *[["send", str(n)] for n in range(20)], ["close"])
    assert [script.client.receive() for _ in range(20)] == [str(n) for n in range(20)]
    script.client.answer_close()


@kinds
@pytest.mark.parametrize("code", [None, 1000, 1001, 3000, 4999])
def test_the_peers_code_is_echoed(server: Server, report: Channel, code: int | None):
    script = Script(server, report, ["wait"])
    assert script.client.close(code).close_code == code
    assert script.outcomes() == [None]


# 4. is_websocket and identity


def test_is_websocket_can_be_called_and_looked_at(server: Server, report: Channel):
    client = server.open(f"/identity?key={report.key}")
    found = report.expect("identity")
    assert found["called"] is True
    assert found["truthy"] is True
    client.drop()
    assert server.get("/identity").body == b"None False"
    with server.open("/forgetful") as forgetful:
        assert forgetful.receive() == "websocket"
    assert server.get("/forgetful").body == b"plain"


def test_a_websocket_hashes_and_compares_by_identity(server: Server, report: Channel):
    names = set()
    for _ in range(3):
        client = server.open(f"/identity?key={report.key}")
        found = report.expect("identity")
        assert found["hash"] is found["self"] is found["stable"] is True
        assert found["settable"] is True
        assert found["other"] is False
        names.add(found["str"])
        client.drop()
    assert len(names) == 3


# 5. aliases and internals


@kinds
def test_old_names_for_the_end_work(server: Server, report: Channel):
    script = Script(
        server,
        report,
        *(["is_close"], ["attribute", "closed"], ["close"]),
        *(["is_close"], ["attribute", "closed"]),
    )
    script.client.answer_close()
    assert script.outcomes() == [False, False, None, True, True]


@kinds
def test_the_protocols_socket_is_selectable(server: Server, report: Channel):
    script = Script(
        server,
        report,
        *(["poll", 0], ["poll"], ["wait"], ["poll", 0], ["poll"], ["wait"]),
    )
    assert script.outcome(0) is False
    script.client.send("x")
    assert script.outcome(1) is True
    assert script.outcome(2) == b"x"
    assert script.outcome(3) is False
    script.client.sendall(frames.encode_close())
    assert script.outcome(4) is True
    assert script.outcome(5) is None


@kinds
def test_the_protocol_can_close(server: Server, report: Channel):
    script = Script(server, report, ["protocol_close"], ["is_closed"])
    assert script.client.answer_close().close_code == 1000
    assert script.outcomes() == [None, True]


def test_the_handle_callback_hears_opcode_and_data(server: Server, report: Channel):
    client = server.open(f"/handle?key={report.key}")
    client.send("text")
    client.send(b"\xff")
    client.close()
    seen = []
    while (event := report.next())[0] != "end":
        seen.append(event[1])
    assert seen[:2] == [[frames.TEXT, b"text"], [frames.BINARY, b"\xff"]]
    assert [opcode for opcode, _ in seen[2:]] in ([], [frames.CLOSE])

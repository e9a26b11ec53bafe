"""The two dialects, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from . import frames
from .client import eventually
from .harness import Server
from .reports import Channel
from .scripting import GOING, Script, kinds, raised
from .specs import CONTRACT

servers = pytest.mark.parametrize("server", CONTRACT, indirect=True)
going = pytest.mark.parametrize("go", GOING)

PATHS = {"classic": "/script", "modern": "/modern/script"}
dialects = pytest.mark.parametrize("dialect", PATHS)


@kinds
@servers
@dialects
def test_a_text_message_arrives_as(server: Server, report: Channel, dialect: str):
    script = Script(server, report, ["wait"], ["read"], path=PATHS[dialect])
    script.client.send("grüße")
    expected = "grüße" if dialect == "modern" else "grüße".encode()
    assert script.outcomes() == [expected, None]
    assert script.client.answer_close().close_code == 1000


@kinds
@servers
@dialects
def test_a_binary_message_arrives_as_bytes(
    server: Server, report: Channel, dialect: str
):
    script = Script(server, report, ["wait"], ["wait"], path=PATHS[dialect])
    script.client.send(b"\x00\xff")
    script.client.send(b"text, really")
    assert script.outcomes() == [b"\x00\xff", b"text, really"]


SENT: list[tuple[str, str, str, str | bytes, str | bytes]] = [
    ("str", "str", "hello", "hello", "hello"),
    ("str of many bytes", "str", "grüße 你好", "grüße 你好", "grüße 你好"),
    ("empty str", "str", "", "", ""),
    ("bytes that are text", "bytes", '{"a": 1}', '{"a": 1}', b'{"a": 1}'),
    ("bytes that are not", "bytes", "\xff\xfe", b"\xff\xfe", b"\xff\xfe"),
    ("bytearray", "bytearray", "abc", "abc", b"abc"),
    ("memoryview", "view", "\x80", b"\x80", b"\x80"),
    ("empty bytes", "bytes", "", "", b""),
]


@kinds
@servers
@dialects
@pytest.mark.parametrize("case", SENT, ids=[case[0] for case in SENT])
def test_send_picks_text_or_binary(
    server: Server, report: Channel, dialect: str, case: Any
):
    _, kind, data, classic, modern = case
    op = ["send", data] if kind == "str" else ["send_bytes", data, kind]
    script = Script(server, report, op, path=PATHS[dialect])
    assert script.client.receive() == (modern if dialect == "modern" else classic)
    script.client.answer_close()


@kinds
@servers
@going
def test_the_modern_dialect_ends_with_none_for_ever(
    server: Server, report: Channel, go: str
):
    script = Script(
        server,
        report,
        *(["wait"], ["is_closed"], ["wait"], ["wait", 5], ["drain"], ["drain"]),
        *(["read", "fallback"], ["has_messages"], ["count_messages"], ["send", "x"]),
        path="/modern/script",
    )
    script.client.send("last words")
    GOING[go](script.client)
    outcomes = script.outcomes()
    if go == "rst" and outcomes[0] is None:
        # A reset may overtake what was sent before it.
        outcomes[0] = "last words"
    assert outcomes[0] == "last words"
    assert outcomes[2:9] == [None, None, [], [], "fallback", False, 0]
    assert not isinstance(outcomes[9], dict)


@kinds
@servers
def test_iteration_in_the_modern_dialect_just_ends(server: Server, report: Channel):
    script = Script(server, report, ["drain"], path="/modern/script")
    script.client.send("one")
    script.client.send(b"two")
    script.client.sendall(frames.encode_close(1000))
    assert script.outcomes() == [["one", b"two"]]


@kinds
@servers
@dialects
def test_receive_raises_what_happened(server: Server, report: Channel, dialect: str):
    script = Script(
        server,
        report,
        *(["receive"], ["receive", 0.05], ["is_closed"], ["receive"], ["receive"]),
        *(["attribute", "close_code"], ["attribute", "close_reason"]),
        path=PATHS[dialect],
    )
    script.client.send("hello")
    expected = "hello" if dialect == "modern" else b"hello"
    assert script.outcome(0) == expected
    timed_out = script.outcome(1)
    assert raised(timed_out, "TimeoutError")
    assert script.outcome(2) is False
    script.client.sendall(frames.encode_close(4001, "bye"))
    for number in (3, 4):
        closed = script.outcome(number)
        assert raised(closed, "WebSocketClosed")
        assert raised(closed, "ConnectionError")
        assert "4001" in closed["text"]
    assert script.outcome(5) == 4001
    assert script.outcome(6) == "bye"
    script.client.ended_after_close(4001)


@kinds
@servers
def test_text_that_is_not_utf8_is_delivered_in_the_classic_dialect(
    server: Server, report: Channel
):
    script = Script(server, report, ["wait"])
    script.client.frame(frames.TEXT, b"caf\xe9")
    assert script.outcomes() == [b"caf\xe9"]
    assert script.client.answer_close().close_code == 1000


@servers
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in-fragments"])
def test_text_that_is_not_utf8_fails_the_modern_connection_with_1007(
    server: Server, report: Channel, whole: bool
):
    script = Script(
        server, report, ["wait"], ["attribute", "close_code"], path="/modern/script"
    )
    if whole:
        script.client.frame(frames.TEXT, b"caf\xe9")
    else:
        script.client.frame(frames.TEXT, b"caf", fin=False)
        # Fails at once, before the last fragment.
        script.client.frame(frames.CONTINUATION, b"\xff", fin=False)
    assert script.client.answer_close().close_code == 1007
    assert script.outcomes() == [None, 1007]


CHOICES = {
    "/modern/accept": "modern",
    "/modern/require": "modern",
    "/modern/classic": "classic",
    "/modern/called": "modern",
}


@servers
@pytest.mark.parametrize("path", CHOICES)
def test_a_decorators_argument_chooses_the_dialect(
    server: Server, report: Channel, path: str
):
    script = Script(server, report, ["wait"], path=path)
    script.client.send("x")
    assert script.outcomes() == ["x" if CHOICES[path] == "modern" else b"x"]


@pytest.mark.parametrize("spec", CONTRACT)
@dialects
def test_a_setting_chooses_the_dialect_of_the_project(
    variant: Any, report: Channel, spec: str, dialect: str
):
    server = variant(spec, settings={"DWEBSOCKET": {"DIALECT": dialect}})
    for path in PATHS.values():
        script = Script(server, report, ["wait"], path=path)
        script.client.send("x")
        assert script.outcomes() == ["x" if dialect == "modern" else b"x"]
        script.client.answer_close()
    # What a decorator says of itself goes before the setting.
    script = Script(server, report, ["wait"], path="/modern/classic")
    script.client.send("x")
    assert script.outcomes() == [b"x"]


@servers
def test_json_goes_both_ways_until_the_peer_says_why_it_goes(
    server: Server, report: Channel
):
    client = server.open(f"/modern/json?key={report.key}")
    client.send('{"n": [1, 2, null], "text": "grüße"}')
    assert client.receive() in (
        '{"got": {"n": [1, 2, null], "text": "grüße"}}',
        '{"got": {"n": [1, 2, null], "text": "gr\\u00fc\\u00dfe"}}',
    )
    client.close(4000, "done")
    assert report.expect("closed") == [4000, "done"]


@servers
@pytest.mark.parametrize(
    ("path", "offered", "expected"),
    [
        ("/modern/listed", "v1.chat, v2.chat", "v2.chat"),
        ("/modern/listed", "v1.chat", "v1.chat"),
        ("/modern/listed", "v3.chat", None),
        ("/modern/listed", None, None),
        ("/modern/chosen", "a, c, b", "c"),
        ("/modern/echo", "a", None),
    ],
)
def test_a_subprotocol_is_chosen(
    server: Server, path: str, offered: str | None, expected: str | None
):
    client = server.client()
    headers = [("Sec-WebSocket-Protocol", offered)] if offered else []
    response = client.open(path, headers)
    assert response.get("Sec-WebSocket-Protocol") == expected
    if path != "/modern/echo":
        text = "null" if expected is None else f'"{expected}"'
        assert client.receive() == f'{{"subprotocol": {text}}}'
    if offered and expected is None:
        # Each worker says so once for each view, so perhaps for an earlier test.
        assert all("takes none of them" in line for line in server.errors())
        server.begin()


@servers
def test_a_websocket_knows_about_itself(server: Server, report: Channel):
    client = server.open(f"/modern/about?key={report.key}")
    assert isinstance(report.expect("id"), int)
    host, port = report.expect("remote")
    assert host == "127.0.0.1"
    # Not every server tells the port; one that does tells the truth.
    assert port in (0, client.sock.getsockname()[1])
    assert report.expect("open") == [None, None]
    ping = client.read_frame()
    assert ping == frames.Frame(frames.PING, b"hello")
    client.frame(frames.PONG, ping.payload)
    client.send("now")
    latency = report.expect("latency")
    assert latency is not None
    assert 0 < latency < 60
    client.close(3999, "over")
    assert report.expect("close") == [3999, "over"]


@servers
def test_ids_are_never_used_twice(server: Server, report: Channel):
    seen = set()
    for _ in range(5):
        client = server.open(f"/modern/about?key={report.key}")
        seen.add(report.expect("id"))
        client.drop()
    assert len(seen) == 5
    eventually(lambda: server.get("/ping").status == 200)

"""One table of arguments, the same for every method, in threads and under gevent."""

from __future__ import annotations

import enum
import functools
import math
import subprocess
import sys
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.utils.translation import gettext_lazy

from dwebsocket import ReceiveTimeout, hub, push
from dwebsocket.conf import arguments
from tests.python.peer import fill
from tests.python.runners.test_greenlets import PREAMBLE


class Float:
    """As numpy's numbers."""

    def __float__(self) -> float:
        return 0.01


class Index:
    def __index__(self) -> int:
        return 0


class Huge:
    def __float__(self) -> float:
        return 1e300


#: Timeouts after which a call returns.
SHORT: list[Any] = [
    *(0, 0.0, -0.0, 0.01, Decimal("0.01"), Fraction(1, 100), Float(), Index(), False),
]
#: Those that are no limit.
ENDLESS: list[Any] = [
    *(None, -1, -0.5, math.inf, -math.inf, 1e30, 10**400, -(10**400), Decimal("inf")),
    *(Decimal(-1), Huge()),
]
WRONG: list[tuple[Any, type[Exception]]] = [
    (math.nan, ValueError),
    (Decimal("nan"), ValueError),
    ("1", TypeError),
    (b"1", TypeError),
    ([], TypeError),
    (object(), TypeError),
    (1j, TypeError),
]


@pytest.mark.parametrize("timeout", SHORT)
def test_short(timeout):
    assert 0 <= (arguments.seconds(timeout) or 0) <= 0.01
    assert arguments.seconds(timeout) is not None


@pytest.mark.parametrize("timeout", ENDLESS)
def test_endless(timeout):
    assert arguments.seconds(timeout) is None


def test_true_is_a_second_and_long_ones_are_kept():
    assert arguments.seconds(True) == 1.0
    assert arguments.seconds(1e8) == 1e8


def check(websocket: Any, peer: Any, modern: bool) -> None:
    """Try the whole table on one WebSocket; also run under gevent."""

    def timed_out(function: Any, timeout: Any) -> bool:
        try:
            return function(timeout) in (None, False)
        except ReceiveTimeout:
            return True

    asked = (websocket.wait, websocket.receive, websocket.receive_json)
    for timeout in SHORT:
        for function in (*asked, websocket.can_read):
            assert timed_out(function, timeout), (function, timeout)
    for timeout in ENDLESS:
        for function in asked:
            peer.send("1")
            assert function(timeout) in ("1", b"1", 1)
        peer.send("1")
        assert websocket.can_read(timeout) is True
        assert websocket.read() in ("1", b"1")
        assert websocket.send("x", timeout=timeout) is True
        assert websocket.send("x", overflow="block", timeout=timeout) is True
    for timeout, error in WRONG:
        calls = [
            *(functools.partial(function, timeout) for function in asked),
            functools.partial(websocket.can_read, timeout),
            functools.partial(websocket.protocol.can_read, timeout),
            functools.partial(websocket.send, "x", timeout=timeout),
            functools.partial(websocket.send, "x", overflow="block", timeout=timeout),
        ]
        for call in calls:
            with pytest.raises(error, match="timeout"):
                call()
    peer.send("still open")
    assert websocket.wait(5) in ("still open", b"still open")


@pytest.mark.parametrize("modern", [True, False])
def test_in_a_thread(pair, modern):
    websocket, peer = pair(modern=modern)
    check(websocket, peer, modern)


def test_under_gevent():
    script = PREAMBLE + (
        "from dwebsocket.websocket import endpoint\n"
        "from dwebsocket.websocket.dialects import CLASSIC, MODERN\n"
        "from tests.python.conf.test_arguments import check\n"
        "for modern in (True, False):\n"
        "    socket, peer = open_pair(text_as_bytes=not modern)\n"
        "    endpoint.of(socket).dialect = (CLASSIC, MODERN)[modern]\n"
        "    gevent.spawn(check, socket, peer, modern).get(timeout=30)\n"
        "print('all')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "all\n", done.stderr


@pytest.mark.parametrize("timeout", [0.05, Decimal("0.05"), Fraction(1, 20)])
def test_a_send_that_waits_for_room_keeps_to_it(pair, timeout):
    websocket, _ = pair(engine={"outbox_messages": 1, "outbox_bytes": 100_000})
    fill(websocket, b"x" * 100_000)
    begun = time.monotonic()
    while websocket.send(b"x" * 100_000, True, overflow="block", timeout=timeout):
        pass
    assert time.monotonic() - begun >= 0.04


class Code(enum.IntEnum):
    MINE = 4000


CODES: list[tuple[Any, int]] = [
    (None, 1000),
    (1000, 1000),
    (1001, 1001),
    (4999, 4999),
    (Code.MINE, 4000),
]
WRONG_CODES: list[tuple[Any, type[Exception]]] = [
    *(
        (code, ValueError)
        for code in (0, -1, 999, 1005, 1006, 1015, 5000, 65536, 10**9)
    ),
    *((code, TypeError) for code in (True, 1000.0, "1000", b"1000", Decimal(1000), [])),
]
REASONS: list[tuple[Any, str]] = [
    (None, ""),
    ("", ""),
    ("why", "why"),
    (b"why", "why"),
    (bytearray(b"why"), "why"),
    (memoryview(b"w-h-y")[::2], "why"),
    (gettext_lazy("why"), "why"),
    ("half \ud83d", "half \ufffd"),
    (b"\xff", ""),
    ("x" * 200, "x" * 123),
    ("ä" * 62, "ä" * 61),
]


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(("code", "expected"), CODES)
def test_close_codes(pair, modern, code, expected):
    websocket, peer = pair(modern=modern)
    websocket.close(code)
    assert peer.closing().code == expected


@pytest.mark.parametrize(("code", "error"), WRONG_CODES)
def test_wrong_close_codes_leave_it_open(pair, code, error):
    # The classic dialect takes what is false for 1000, as the old package does.
    websocket, peer = pair(modern=True)
    websocket.join("test.codes")
    for close in (
        websocket.close,
        websocket.protocol.close,
        hub.group("test.codes").close,
        lambda code: push.disconnect(1, code),
    ):
        with pytest.raises(error, match="code|integer"):
            close(code)
    assert websocket.is_closed() is False
    websocket.send("open")
    assert peer.message() == "open"


@pytest.mark.parametrize(("reason", "expected"), REASONS)
def test_close_reasons(pair, reason, expected):
    websocket, peer = pair()
    websocket.close(4000, reason)
    assert peer.closing().reason == expected


@pytest.mark.parametrize("reason", [5, 1.5, True, ["x"], object()])
def test_wrong_close_reasons_leave_it_open(pair, reason):
    websocket, peer = pair()
    websocket.join("test.reasons")
    for close in (websocket.close, hub.group("test.reasons").close):
        with pytest.raises(TypeError, match="reason"):
            close(4000, reason)
    websocket.send("open")
    assert peer.message() == "open"


@pytest.mark.parametrize("reason", ["half \ud83d", b"half \xef\xbf\xbd"])
def test_a_reason_for_a_group(pair, reason):
    websocket, peer = pair()
    websocket.join("test.reason")
    hub.group("test.reason").close(4000, reason)
    assert peer.closing().reason == "half \ufffd"
    with pytest.raises(ValueError, match="123"):
        hub.group("test.reason").close(4000, "x" * 124)

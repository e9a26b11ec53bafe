"""The classic dialect's end of the conversation, cell by cell of its table."""

from __future__ import annotations

from typing import Any

import pytest

from . import frames
from .harness import Server
from .reports import Channel
from .scripting import GOING, Script, kinds, raised
from .specs import CONTRACT

pytestmark = [pytest.mark.parametrize("server", CONTRACT, indirect=True), kinds]

going = pytest.mark.parametrize("go", GOING)

FIRST: dict[str, tuple[list[Any], Any]] = {
    "wait": (["wait"], None),
    "wait-with-timeout": (["wait", 20], None),
    "iterate": (["drain"], [None]),
    "read": (["read", "fallback"], None),
    "has_messages": (["has_messages"], True),
    "count_messages": (["count_messages"], 1),
}


@going
@pytest.mark.parametrize(("call", "expected"), FIRST.values(), ids=FIRST)
def test_the_first_call_after_the_peer_has_gone(
    server: Server, report: Channel, go: str, call: list[Any], expected: Any
):
    script = Script(server, report, ["poll"], call)
    GOING[go](script.client)
    assert script.outcomes() == [True, expected]


CONSUME: dict[str, list[Any]] = {
    "wait": ["wait"],
    "iterate": ["drain"],
    "read": ["read", "fallback"],
}


@going
@pytest.mark.parametrize("consume", CONSUME)
def test_calls_after_the_one_none_raise_eoferror(
    server: Server, report: Channel, go: str, consume: str
):
    script = Script(
        server,
        report,
        *(["poll"], CONSUME[consume]),
        *(["wait"], ["wait", 0.1], ["drain"], ["read", "fallback"]),
        *(["has_messages"], ["count_messages"]),
    )
    GOING[go](script.client)
    outcomes = script.outcomes()[2:]
    assert [raised(outcome, "EOFError") for outcome in outcomes] == [True] * 6, outcomes


@going
def test_is_closed_is_true_once_the_close_was_consumed(
    server: Server, report: Channel, go: str
):
    script = Script(
        server,
        report,
        *(["is_closed"], ["poll"], ["is_closed"], ["wait"], ["is_closed"]),
        *(["wait"], ["is_closed"]),
    )
    GOING[go](script.client)
    outcomes = script.outcomes()
    assert outcomes[2:5] == [False, None, True]
    assert outcomes[6] is True


@going
def test_is_closed_turns_true_for_a_loop_that_only_sends(
    server: Server, report: Channel, go: str
):
    script = Script(server, report, ["send_until_closed"])
    GOING[go](script.client)
    assert script.outcomes() == [True]


@pytest.mark.parametrize("go", ["fin", "rst"])
def test_is_closed_turns_true_for_a_loop_that_leaves_messages_unread(
    server: Server, report: Channel, go: str
):
    script = Script(server, report, ["send_until_closed"])
    for _ in range(3):
        script.client.send("nobody reads this")
    GOING[go](script.client)
    assert script.outcomes() == [True]


@pytest.mark.parametrize("go", ["close", "fin"])
def test_is_closed_never_runs_ahead_of_unread_messages(
    server: Server, report: Channel, go: str
):
    script = Script(
        server,
        report,
        *(["poll"], ["is_closed"], ["wait"], ["is_closed"], ["wait"], ["is_closed"]),
        *(["poll"], ["wait"], ["is_closed"]),
    )
    script.client.send("first")
    script.client.send("second")
    GOING[go](script.client)
    assert script.outcomes()[1:] == [
        *(False, b"first", False, b"second", False),
        *(True, None, True),
    ]


@going
def test_sending_after_the_peer_has_gone_does_nothing(
    server: Server, report: Channel, go: str
):
    script = Script(
        server,
        report,
        *(["poll"], ["send", "x"], ["wait"], ["send", "y"], ["send_bytes", "z"]),
        *(["close"], ["send", "x"]),
    )
    GOING[go](script.client)
    outcomes = script.outcomes()
    for number in (1, 3, 4, 6):
        assert not isinstance(outcomes[number], dict), outcomes
    assert outcomes[2] is None


LOCAL: dict[str, tuple[list[Any], Any]] = {
    "wait": (["wait"], None),
    "wait-with-timeout": (["wait", 20], None),
    "iterate": (["drain"], [None]),
    "read": (["read", "fallback"], EOFError),
    "has_messages": (["has_messages"], EOFError),
    "count_messages": (["count_messages"], EOFError),
    "is_closed": (["is_closed"], True),
    "send": (["send", "x"], None),
}


@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize(("call", "expected"), LOCAL.values(), ids=LOCAL)
def test_calls_after_a_close_of_our_own(
    server: Server, report: Channel, call: list[Any], expected: Any, repeat: int
):
    script = Script(server, report, ["close"], *[call] * repeat)
    assert script.client.answer_close().close_code == 1000
    for outcome in script.outcomes()[1:]:
        if expected is EOFError:
            assert raised(outcome, "EOFError"), outcome
        elif call[0] == "send":
            assert not isinstance(outcome, dict), outcome
        else:
            assert outcome == expected


def test_a_close_of_our_own_wakes_a_waiter_in_another_thread_with_none(
    server: Server, report: Channel
):
    script = Script(server, report, ["wait_in_thread"])
    script.client.answer_close()
    assert script.outcomes() == [[None]]


@going
def test_there_is_exactly_one_none_for_two_waiters(
    server: Server, report: Channel, go: str
):
    script = Script(server, report, ["two_waiters"])
    GOING[go](script.client)
    assert script.outcomes() == [["EOFError", "None"]]


@going
def test_a_loop_that_overlooks_the_end_is_slowed_down(
    server: Server, report: Channel, go: str
):
    script = Script(server, report, ["spin", 10])
    GOING[go](script.client)
    durations = script.outcomes()[0]
    # The first call waits for the end itself and gets None.
    assert all(duration >= 0.049 for duration in durations[4:]), durations


@going
def test_has_messages_and_wait_agree_up_to_the_end(
    server: Server, report: Channel, go: str
):
    script = Script(
        server,
        report,
        *(["has_messages"], ["poll"], ["count_messages"], ["has_messages"]),
        *(["read", "fallback"], ["is_closed"], ["has_messages"]),
    )
    GOING[go](script.client)
    outcomes = script.outcomes()
    assert outcomes[1:6] == [True, 1, True, None, True]
    assert raised(outcomes[6], "EOFError")


def test_messages_before_the_close_are_all_delivered(server: Server, report: Channel):
    script = Script(server, report, ["drain"], ["wait"])
    texts = [f"message {number}" for number in range(50)]
    data = b"".join(frames.encode(frames.TEXT, text.encode()) for text in texts)
    script.client.sendall(data + frames.encode_close(1000))
    items, after = script.outcomes()
    assert items == [*(text.encode() for text in texts), None]
    assert raised(after, "EOFError")

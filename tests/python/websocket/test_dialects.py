"""What each call answers at each kind of end: the table of docs/moving.md, in full."""

from __future__ import annotations

import threading
import time

import pytest

from dwebsocket.websocket import endpoint
from dwebsocket.websocket.dialects import CLASSIC, MODERN, Answer, End

N, L, R = Answer.NOTHING, Answer.LAST, Answer.REFUSED

#: The dialect, the end, what wait() and what read() and count_messages() answer, and
#: whether is_closed() is True.
TABLE = [
    (CLASSIC, End.UNTOLD, L, L, False),
    (CLASSIC, End.TOLD, R, R, True),
    (CLASSIC, End.CLOSED, N, R, True),
    (MODERN, End.UNTOLD, N, N, True),
    (MODERN, End.TOLD, N, N, True),
    (MODERN, End.CLOSED, N, N, True),
]
NAMES = [
    f"{'modern' if row[0] is MODERN else 'classic'}-{row[1].name}" for row in TABLE
]


@pytest.fixture
def at_end(pair):
    """Return a function that brings a WebSocket to one kind of end."""

    def bring(dialect, end):
        websocket, peer = pair(modern=dialect is MODERN)
        if end is End.CLOSED:
            websocket.close()
            return websocket
        peer.drop()
        found = endpoint.of(websocket)
        assert websocket.can_read(10)
        if end is End.TOLD:
            assert websocket.wait() is None
        assert found.end() is end
        return websocket

    return bring


def got(call, *arguments):
    """Return what a call returns, or REFUSED where it raises EOFError."""
    try:
        return call(*arguments)
    except EOFError:
        return R


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
class TestTable:
    def test_is_what_the_dialect_says(self, row):
        dialect, end, wait, ask, over = row
        assert (dialect.wait[end], dialect.ask[end]) == (wait, ask)
        assert (end in dialect.over) is over

    def test_wait(self, row, at_end):
        dialect, end, wait, _, _ = row
        websocket = at_end(dialect, end)

        heard = []
        websocket.handle = lambda opcode, data: heard.append((opcode, data))
        assert got(websocket.wait, 5) is (R if wait is R else None)
        assert heard == ([(0x8, None)] if wait is L else [])

    def test_read(self, row, at_end):
        dialect, end, _, ask, _ = row
        found = got(at_end(dialect, end).read, "fallback")
        assert found == {N: "fallback", L: None, R: R}[ask]

    def test_count_messages(self, row, at_end):
        dialect, end, _, ask, _ = row
        found = got(at_end(dialect, end).count_messages)
        assert found == {N: 0, L: 1, R: R}[ask]

    def test_is_closed(self, row, at_end):
        dialect, end, _, _, over = row
        assert at_end(dialect, end).is_closed() is over

    def test_iteration(self, row, at_end):
        dialect, end, wait, _, _ = row
        websocket = at_end(dialect, end)
        if wait is R:
            with pytest.raises(EOFError):
                list(websocket)
        else:
            assert list(websocket) == ([None] if dialect.yields_end else [])


@pytest.mark.parametrize(
    ("dialect", "message", "text"),
    [
        (CLASSIC, "text", True),
        (CLASSIC, b"text", True),
        (CLASSIC, b"\xff", False),
        (MODERN, "text", True),
        (MODERN, b"text", False),
    ],
)
def test_what_counts_as_text(dialect, message, text):
    assert dialect.is_text(message) is text


def test_of_two_threads_at_the_end_one_is_told_and_the_other_refused(pair):
    for _ in range(50):
        websocket, peer = pair()
        peer.drop()
        answers, start = [], threading.Barrier(2)

        def ask(websocket=websocket, answers=answers, start=start):
            start.wait(10)
            try:
                answers.append(websocket.wait())
            except EOFError:
                answers.append("refused")

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(answers, key=str) == [None, "refused"]


def test_a_loop_that_reads_after_its_own_close_leaves_the_processor(pair):
    websocket, _ = pair(modern=True)
    websocket.close()
    begun = time.monotonic()
    for _ in range(6):
        assert websocket.read() is None
    assert time.monotonic() - begun > 0.2

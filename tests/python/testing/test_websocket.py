"""The client's calls, and turns with the view."""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client, override_settings

from dwebsocket import hub, runners
from dwebsocket.exceptions import ReceiveTimeout, WebSocketClosed
from dwebsocket.testing import ViewNotEnded, connect
from dwebsocket.testing.frames import BINARY, CLOSE, PING, PONG, TEXT

from . import views


class TestMessages:
    @pytest.mark.parametrize("path", ["/echo/", "/classic/"])
    def test_text_is_str_and_binary_is_bytes(self, client: Client, path: str) -> None:
        with connect(client, path) as ws:
            ws.send("你好")
            assert ws.receive() == "你好"
            ws.send(b"\xff\x00")
            assert ws.receive() == b"\xff\x00"

    @pytest.mark.parametrize("compression", [False, True])
    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 1_000_000])
    def test_of_every_size(self, client: Client, size: int, compression: bool) -> None:
        with connect(client, "/echo/", compression=compression) as ws:
            assert ws.compressed is compression
            for message in ("x" * size, os.urandom(size)):
                ws.send(message)
                assert ws.receive() == message

    @override_settings(DWEBSOCKET={"MAX_MESSAGE_SIZE": 1 << 25})
    def test_that_are_larger_than_every_buffer(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            for message in ("x" * (1 << 23), os.urandom(1 << 23)):
                ws.send(message)
                assert ws.receive(timeout=20) == message

    def test_a_pong_that_does_not_come(self, client: Client) -> None:
        with connect(client, "/echo/", raw=True) as ws:
            with pytest.raises(ReceiveTimeout, match="no pong"):
                ws.ping(timeout=0.02)
            assert ws.receive_frame().opcode == PONG

    def test_json(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            ws.send_json({"a": [1, None]})
            assert ws.receive_json() == {"a": [1, None]}

    def test_other_values_are_no_messages(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            with pytest.raises(TypeError, match="send_json"):
                ws.send({"a": 1})  # type: ignore[arg-type]
            ws.send("still open")
            assert ws.receive() == "still open"

    def test_none_comes(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            ws.receive_nothing(0.02)
            ws.send("hello")
            with pytest.raises(AssertionError, match="hello"):
                ws.receive_nothing()
            # It is still there.
            assert ws.receive() == "hello"

    def test_a_message_that_does_not_come_shows_where_the_view_is(
        self, client: Client
    ) -> None:
        with connect(client, "/echo/") as ws:
            with pytest.raises(ReceiveTimeout, match="in echo\n") as late:
                ws.receive(timeout=0.02)
            assert "stage.py" not in str(late.value)
            assert isinstance(late.value, TimeoutError)

    def test_iteration_ends_with_the_connection(self, client: Client) -> None:
        with connect(client, "/closes/") as ws:
            ws.send("more")
            assert list(ws) == []
        with connect(client, "/fails/") as ws:
            assert list(ws) == ["before"]
            assert ws.view_error is not None

    def test_after_the_end_is_refused(self, client: Client) -> None:
        with connect(client, "/closes/") as ws:
            ws.send("more")
            for call in (ws.receive, ws.ping, lambda: ws.send("x")):
                with pytest.raises(WebSocketClosed, match="no more") as closed:
                    call()
                assert closed.value.code == 4001

    def test_of_a_thread_of_the_view(self, client: Client) -> None:
        with connect(client, "/helped/") as ws:
            ws.send("go")
            assert [ws.receive() for _ in range(3)] == ["0", "1", "2"]


class TestTurns:
    def test_what_the_view_does_after_its_answer_is_done(self, client: Client) -> None:
        with connect(client, "/slow/") as ws:
            for number in range(20):
                ws.send(str(number))
                assert ws.receive() == str(number)
                assert views.done[-1] == str(number)
        assert views.done[-1] == "end"

    def test_send_itself_lets_the_view_work(self, client: Client) -> None:
        with connect(client, "/slow/") as ws:
            ws.send("a")
            assert views.done == ["a"]
            ws.send("b")
            assert views.done == ["a", "b"]
            assert [ws.receive(), ws.receive()] == ["a", "b"]

    def test_a_view_that_only_looks_for_messages(self, client: Client) -> None:
        with connect(client, "/polls/") as ws:
            for _ in range(20):
                ws.send("a")
                assert ws.receive() == "A"

    def test_a_view_that_never_waits_is_overdue(self, client: Client) -> None:
        with connect(client, "/streams/") as ws:
            assert [ws.receive() for _ in range(50)] == [str(n) for n in range(50)]

    def test_a_view_that_waits_for_another_view(self, client: Client) -> None:
        with (
            connect(client, "/waits-for-another/?first=1") as first,
            connect(client, "/waits-for-another/") as second,
        ):
            first.send("go")
            second.send("go")
            assert first.receive() == second.receive() == "together"

    def test_two_clients_and_a_group(self, client: Client) -> None:
        with (
            connect(client, "/room/turns/") as ana,
            connect(client, "/room/turns/") as bo,
        ):
            assert ana.receive_json() == {"missed": 0, "members": 1}
            assert bo.receive_json() == {"missed": 0, "members": 2}
            for number in range(50):
                ana.send(f"{number}")
                assert bo.receive() == f"{number}"
            ana.receive_nothing(0.02)
            hub.group("turns").send("from the test")
            assert ana.receive() == bo.receive() == "from the test"
        assert hub.group("turns").count() == 0

    def test_a_client_that_is_not_read_holds_nobody_up(self, client: Client) -> None:
        with (
            connect(client, "/room/unread/") as ana,
            connect(client, "/room/unread/") as bo,
        ):
            big = "x" * 500_000
            for _ in range(30):
                ana.send(big)
            assert bo.receive_json()["members"] == 2
            assert [bo.receive() for _ in range(30)] == [big] * 30

    def test_clients_in_threads_of_the_test(self, client: Client) -> None:
        def talk(number: int) -> str | bytes:
            with connect(Client(), "/echo/") as ws:
                ws.send(str(number))
                return ws.receive(timeout=20)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(talk, range(40))) == [str(n) for n in range(40)]

    def test_one_client_in_two_threads(self, client: Client) -> None:
        with connect(client, "/echo/") as ws, ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ws.receive, 20)
            ws.send("hello")
            assert answer.result(20) == "hello"


class TestEnd:
    def test_leaving_closes_with_1000(self, client: Client) -> None:
        with connect(client, "/slow/") as ws:
            assert ws.close_code is None
        assert ws.close_code == 1000
        assert views.done == ["end"]

    def test_the_view_may_close(self, client: Client) -> None:
        with connect(client, "/closes/") as ws:
            ws.send("more")
            assert (ws.close_code, ws.close_reason) == (4001, "no more")
            assert ws.wait_closed() == 4001

    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
    def test_the_client_may_close_with_any_code(
        self, client: Client, code: int
    ) -> None:
        with connect(client, "/slow/") as ws:
            ws.close(code, "a reason")
            assert ws.close_code == code
        assert views.done == ["end"]

    def test_without_a_code(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            ws.close(None)
            assert ws.close_code == 1005

    def test_what_was_sent_before_can_be_read_after(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            ws.send("hello")
            ws.close()
            assert ws.receive() == "hello"
            with pytest.raises(WebSocketClosed):
                ws.receive()

    def test_a_client_may_vanish(self, client: Client) -> None:
        with connect(client, "/slow/") as ws:
            ws.drop()
            assert ws.close_code == 1006
        assert views.done == ["end"]

    def test_still_open(self, client: Client) -> None:
        with (
            connect(client, "/echo/") as ws,
            pytest.raises(ReceiveTimeout, match="still open"),
        ):
            ws.wait_closed(timeout=0.02)

    def test_a_refused_visitor(self, client: Client) -> None:
        with connect(client, "/forbids/") as ws:
            assert ws.close_code == 1008
        assert isinstance(ws.view_error, PermissionDenied)


@pytest.fixture
def traced(no_spare_threads: None) -> Iterator[None]:
    """Trace all threads, as coverage and debuggers do; new ones, that is."""

    def trace(*event: Any) -> Any:
        return trace

    before = sys.gettrace(), threading.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    yield
    sys.settrace(before[0])
    threading.settrace(before[1])  # type: ignore[arg-type]


class TestErrors:
    def test_the_views_error_is_raised_with_its_traceback(self, client: Client) -> None:
        with (
            pytest.raises(ValueError, match="the view has failed") as failed,
            connect(client, "/fails/") as ws,
        ):
            assert (ws.receive(), ws.close_code) == ("before", 1011)
        assert "fails" in [entry.name for entry in failed.traceback]

    def test_an_error_at_the_end(self, client: Client) -> None:
        with (
            pytest.raises(ValueError, match="failed late"),
            connect(client, "/fails-at-the-end/"),
        ):
            pass

    def test_who_looks_at_it_knows_it(self, client: Client) -> None:
        with connect(client, "/fails/") as ws:
            assert str(ws.view_error) == "the view has failed"
        with connect(client, "/echo/") as ws:
            assert ws.view_error is None

    def test_is_the_cause_of_a_closed_connection(self, client: Client) -> None:
        with pytest.raises(WebSocketClosed) as closed, connect(client, "/fails/") as ws:
            assert [ws.receive(), ws.receive()]
        assert closed.value.code == 1011
        assert str(closed.value.__cause__) == "the view has failed"

    def test_the_block_s_own_error_is_raised(self, client: Client) -> None:
        with pytest.raises(KeyError) as failed, connect(client, "/fails-at-the-end/"):
            raise KeyError("of the test")
        assert isinstance(failed.value.__context__, ValueError)

    def test_the_block_s_own_error_and_a_view_that_hangs(self, client: Client) -> None:
        with pytest.raises(KeyError), connect(client, "/hangs/", timeout=0.1):
            raise KeyError("of the test")

    def test_a_view_that_does_not_end_is_named(
        self, client: Client, caplog: Any
    ) -> None:
        with (
            pytest.raises(ViewNotEnded) as late,
            connect(client, "/hangs/", timeout=0.1),
        ):
            pass
        text = str(late.value)
        assert "The view tests.python.testing.views.hangs of /hangs/" in text
        assert "time.sleep(0.01)" in text
        assert "dwebsocket" not in text.partition("here:")[2]
        assert isinstance(late.value, AssertionError)
        if sys.version_info[:2] == (3, 11) and sys.gettrace() is not None:
            return
        # It was ended by force, and the log says by whom.
        assert "of /hangs/: the test has ended it" in caplog.text
        assert not [
            t for t in threading.enumerate() if re.match(r"websocket-\d", t.name)
        ]

    def test_a_view_may_outlive_its_client(self, client: Client) -> None:
        with connect(client, "/hangs/", may_outlive=True):
            pass
        views.go_on.set()
        deadline = time.monotonic() + 20
        while not views.done and time.monotonic() < deadline:
            time.sleep(0.005)
        assert views.done == ["hangs has ended"]

    def test_a_forgotten_client_is_warned_of(self, client: Client) -> None:
        opened = [connect(client, "/echo/")]
        with pytest.warns(ResourceWarning, match="/echo/ was not closed"):
            opened.clear()
        gc.collect()

    def test_one_that_is_forgotten_while_coverage_traces_blocks_nobody(
        self, client: Client, traced: None
    ) -> None:
        begun = time.monotonic()
        with pytest.warns(ResourceWarning, match="/echo/ was not closed"):
            connect(client, "/echo/")
        assert time.monotonic() - begun < 20

    def test_a_view_that_waits_for_ever_while_coverage_traces_is_named(
        self, client: Client, traced: None
    ) -> None:
        begun = time.monotonic()
        with (
            pytest.raises(ViewNotEnded, match="go_on.wait"),
            connect(client, "/stands-still/", timeout=0.1),
        ):
            pass
        assert time.monotonic() - begun < 20
        views.go_on.set()
        assert runners.join(20)


class TestFrames:
    def test_ping(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            ws.ping()
            ws.ping(b"")
            ws.send("still")
            assert ws.receive() == "still"

    @pytest.mark.parametrize("mask", [True, False])
    def test_fragments(self, client: Client, mask: bool) -> None:
        with connect(client, "/echo/") as ws:
            ws.send_frame(TEXT, b"frag", fin=False, mask=mask)
            ws.receive_nothing(0.02)
            ws.send_frame(0, b"ments", mask=mask)
            assert ws.receive() == "fragments"

    def test_raw(self, client: Client) -> None:
        with connect(client, "/echo/", raw=True) as ws:
            ws.send_frame(PING, b"p")
            assert ws.receive_frame()[:2] == (PONG, b"p")
            ws.send(b"binary")
            assert ws.receive_frame()[:3] == (BINARY, b"binary", True)
            with pytest.raises(ReceiveTimeout):
                ws.receive_frame(timeout=0.02)
            ws.send_frame(CLOSE, b"\x03\xe8")
            assert ws.receive_frame()[:2] == (CLOSE, b"\x03\xe8")

    def test_what_is_no_frame(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            ws.send_bytes(b"\xff" * 20)
            assert ws.close_code == 1002

    def test_too_big(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            ws.send("x" * 1_048_577)
            assert ws.close_code == 1009


class TestNothingStays:
    def test_of_a_thousand_in_a_row(self, client: Client, quiet: int) -> None:
        def echo() -> None:
            with connect(client, "/echo/") as ws:
                ws.send("hello")
                assert ws.receive() == "hello"

        echo()
        before = threads(), descriptors()
        for _ in range(1000):
            echo()
        deadline = time.monotonic() + 20
        # A thread waits for another view for a second, as on a server.
        while (
            threads() > before[0] or descriptors() > before[1]
        ) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threads() <= before[0]
        assert descriptors() <= before[1]

    def test_of_a_refusal(self, client: Client) -> None:
        def refuse() -> None:
            with pytest.raises(Exception, match="refused with"):
                connect(client, "/plain/")

        refuse()
        before = threads(), descriptors()
        for _ in range(50):
            refuse()
        assert threads() <= before[0]
        assert descriptors() <= before[1]


def threads() -> int:
    return threading.active_count()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))

"""Classes of whose handlers some are coroutine functions."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import socket
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.utils import translation

from dwebsocket import AsyncWebSocket, WebSocketView, hub, on, signals
from dwebsocket.runners import ahandlers, tasks
from dwebsocket.runners.ahandlers import AsyncHandlerCall
from dwebsocket.websocket.endpoint import of

from .helpers import (
    TIMEOUT,
    AsyncEcho,
    AsyncNoted,
    Failing,
    closing,
    code_of,
    echoes,
    noted,
    numbers,
    receiving,
    send_all,
    served,
)


def test_the_handlers_are_called_in_order(site):
    cls = noted(AsyncNoted)
    with served(site, cls).connect() as connection:
        echoes(connection, *numbers(50))
    assert cls.ended.wait(TIMEOUT)
    assert cls.notes == ["open", *numbers(50), 1000]


def test_the_websocket_is_that_of_async_views(site):
    kinds: list = []

    class Kind(AsyncEcho):
        def on_open(self):
            kinds.append(type(self.websocket))

    with served(site, Kind).connect() as connection:
        echoes(connection)
    assert kinds == [AsyncWebSocket]


def test_plain_handlers_of_such_a_class_run_in_a_thread_in_order(site):
    ended = threading.Event()
    seen: list = []

    def note(what):
        seen.append((what, threading.current_thread().name))

    class Mixed(WebSocketView):
        def on_open(self):
            note("open")

        async def on_message(self, message):
            note(message)
            self.websocket.send(message)

        def on_close(self, code):
            note(code)
            ended.set()

    with served(site, Mixed).connect() as connection:
        echoes(connection)
    assert ended.wait(TIMEOUT)
    assert [what for what, _ in seen] == ["open", "x", 1000]
    names = [name for _, name in seen]
    assert names == ["websocket-calls", "websocket-loop", "websocket-calls"]


def test_an_idle_connection_has_no_task(site):
    live = served(site, AsyncEcho)

    async def tasks_of_loop():
        return len(asyncio.all_tasks())

    def count():
        loop = tasks.runner._loop.asyncio
        return asyncio.run_coroutine_threadsafe(tasks_of_loop(), loop).result(TIMEOUT)

    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(live.connect()) for _ in range(20)]
        for connection in many:
            echoes(connection)
        # The task of the last answer may be about to end.
        deadline = time.monotonic() + TIMEOUT
        while (running := count()) > 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert tasks.runner.count() >= 20
    assert running == 1
    assert tasks.runner.join(TIMEOUT)


def test_a_handler_that_waits_does_not_stop_the_others(site):
    go = threading.Event()
    inside = threading.Event()

    class Slow(WebSocketView):
        async def on_message(self, message):
            if message == "wait":
                inside.set()
                while not go.is_set():
                    await asyncio.sleep(0.001)
            await self.websocket.send(message)

    live = served(site, Slow)
    try:
        with live.connect() as slow, live.connect() as other:
            slow.send("wait")
            slow.send("after")
            assert inside.wait(TIMEOUT)
            echoes(other, *numbers(20))
            go.set()
            assert slow.recv(timeout=TIMEOUT) == "wait"
            assert slow.recv(timeout=TIMEOUT) == "after"
    finally:
        go.set()


def test_handlers_of_one_connection_never_overlap(site):
    wrong: list = []

    class Slow(WebSocketView):
        inside = False

        async def on_message(self, message):
            wrong.extend([message] if self.inside else [])
            self.inside = True
            await asyncio.sleep(0.001)
            self.inside = False
            self.websocket.send(message)

    with served(site, Slow).connect() as connection:
        for number in range(50):
            connection.send(str(number))
        answers = [connection.recv(timeout=TIMEOUT) for _ in range(50)]
    assert answers == numbers(50)
    assert not wrong


def test_an_exception_closes_with_1011_and_on_close_is_called(site, caplog):
    class Wrong(noted(AsyncNoted)):  # type: ignore[misc]
        async def on_message(self, message):
            raise ValueError("wrong on purpose")

    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, Wrong).connect() as connection,
    ):
        send_all(connection, "x", "y")
        assert code_of(connection) == 1011
        assert Wrong.ended.wait(TIMEOUT)
    assert Wrong.notes == ["open", 1011]
    assert len([r for r in caplog.records if r.exc_info]) == 1


def test_groups_signals_and_context_are_those_of_views(site):
    variable = contextvars.ContextVar("variable", default="nobody's")
    seen: list = []

    class Room(WebSocketView):
        groups = ["room.{room}"]

        async def note(self, what):
            seen.append((what, translation.get_language(), variable.get()))

        async def on_open(self):
            await self.note("open")

        async def on_message(self, message):
            await self.note(message)
            await self.websocket.send(message)

        async def on_close(self, code):
            await self.note(code)

    view = Room.as_view()

    def around(request, room):
        variable.set("the request's")
        with translation.override("de"):
            return view(request, room=room)

    def heard(message, **kwargs):
        seen.append(("heard", message))

    with receiving(signals.websocket_message, heard), closing() as ended:
        with site({"<str:room>/": around}).connect("seven/") as connection:
            echoes(connection)
            assert hub.group("room.seven").send("to all").local == 1
            assert connection.recv(timeout=TIMEOUT) == "to all"
        assert ended.wait(TIMEOUT)
    state = ("de", "the request's")
    assert seen == [
        ("open", *state),
        ("heard", "x"),
        ("x", *state),
        (1000, *state),
    ]


def test_synchronous_calls_of_two_connections_run_side_by_side(site):
    together = threading.Barrier(2)

    class Both(WebSocketView):
        async def on_message(self, message):
            await sync_to_async(together.wait)(TIMEOUT)
            await self.websocket.send(message)

    live = served(site, Both)
    with live.connect() as one, live.connect() as two:
        one.send("1")
        two.send("2")
        assert one.recv(timeout=TIMEOUT) == "1"
        assert two.recv(timeout=TIMEOUT) == "2"


@pytest.mark.skipif("sys.version_info < (3, 11)", reason="asyncio.timeout")
def test_time_outs_and_task_groups_work_in_handlers(site):
    class Timed(WebSocketView):
        async def on_message(self, message):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(TIMEOUT)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            assert asyncio.current_task() is not None
            await self.websocket.send(message)

    with served(site, Timed).connect() as connection:
        echoes(connection, *numbers(5))


def test_cancel_on_disconnect_cancels_the_handler_that_runs(site):
    class Cancelled(noted(AsyncNoted)):  # type: ignore[misc]
        cancel_on_disconnect = True

        async def on_message(self, message):
            self.websocket.send("begun")
            try:
                await asyncio.sleep(TIMEOUT)
            except asyncio.CancelledError:
                self.notes.append("cancelled")
                raise

    with served(site, Cancelled).connect() as connection:
        connection.send("x")
        assert connection.recv(timeout=TIMEOUT) == "begun"
    assert Cancelled.ended.wait(TIMEOUT)
    assert Cancelled.notes[:2] == ["open", "cancelled"]
    assert len(Cancelled.notes) == 3


@pytest.mark.parametrize("how", ["close", "drop"])
def test_cancel_on_disconnect_does_not_cancel_on_close(site, how):
    class Slow(noted(AsyncNoted)):  # type: ignore[misc]
        cancel_on_disconnect = True

        async def on_close(self, code):
            self.notes.append("begun")
            try:
                # The loop does meanwhile what it has to do because of the end.
                await asyncio.sleep(0.05)
                self.notes.append("whole")
            finally:
                self.ended.set()

    with served(site, Slow).connect() as connection:
        echoes(connection)
        if how == "drop":
            connection.socket.shutdown(socket.SHUT_RDWR)
    assert Slow.ended.wait(TIMEOUT)
    assert Slow.notes == ["open", "x", "begun", "whole"]


def test_a_task_that_waits_for_room_takes_no_report_away_from_the_handlers(site):
    waits = threading.Event()
    opened: list = []

    class Slow(noted(AsyncNoted)):  # type: ignore[misc]
        outbox_bytes = 65_536
        send_timeout = 600

        async def on_open(self):
            opened.append(self)
            self.flood = asyncio.ensure_future(self._flood())

        async def _flood(self):
            done = True
            while done:
                sending = asyncio.ensure_future(self._send("x" * 32_000))
                done, _ = await asyncio.wait([sending], timeout=0.2)
            waits.set()
            await sending
            self.websocket.send("done")

        async def _send(self, message):
            await self.websocket.send(message)

        async def on_message(self, message):
            self.notes.append(message)
            self.websocket.send("handled")

    def rounds(count):
        for _ in range(count):
            loop = tasks.runner._loop.asyncio
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(TIMEOUT)

    with served(site, Slow).connect() as connection:
        assert waits.wait(TIMEOUT)
        connection.send("one")
        engine = of(opened[0].websocket).connection
        deadline = time.monotonic() + TIMEOUT
        while not engine.stats["received_messages"]:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        # The loop has done what it does because of the message.
        rounds(5)
        expected = {"done", "handled"}
        while expected:
            expected.discard(connection.recv(timeout=TIMEOUT))
    assert Slow.ended.wait(TIMEOUT)
    assert Slow.notes == ["one", 1000]


@pytest.mark.parametrize("mistake", ["hook", "receiver"])
def test_whatever_fails_the_end_is_an_end(site, monkeypatch, caplog, mistake):
    failing = Failing(mistake, monkeypatch)
    cls = noted(AsyncNoted)
    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, cls).connect() as connection,
    ):
        echoes(connection)
        failing.begin()
        connection.send("y")
        code = code_of(connection)
    assert tasks.runner.join(TIMEOUT)
    assert code == 1011
    assert cls.notes == ["open", "x", 1011]
    assert failing.heard == [1011]


def test_a_report_of_an_exception_is_not_cancelled_when_the_peer_goes(
    site, monkeypatch
):
    reporting, gone = threading.Event(), threading.Event()

    class Fails(noted(AsyncNoted)):  # type: ignore[misc]
        cancel_on_disconnect = True

        async def on_message(self, message):
            raise ValueError("wrong on purpose")

    def report(call, error):
        reporting.set()
        gone.wait(TIMEOUT)
        return 1011

    monkeypatch.setattr(AsyncHandlerCall, "code_of", report)
    peer_gone = AsyncHandlerCall._peer_gone

    def note(call, endpoint):
        peer_gone(call, endpoint)
        gone.set()

    monkeypatch.setattr(AsyncHandlerCall, "_peer_gone", note)
    with served(site, Fails).connect() as connection:
        connection.send("x")
        assert reporting.wait(TIMEOUT)
        connection.socket.shutdown(socket.SHUT_RDWR)
        assert Fails.ended.wait(TIMEOUT)
    assert Fails.notes[:1] == ["open"]
    assert len(Fails.notes) == 2


def test_the_end_of_the_process_between_two_messages_closes(site, monkeypatch):
    """Cancelled where others get their turn, as all tasks are at the end."""
    monkeypatch.setattr(ahandlers, "_STRIDE", 1)
    monkeypatch.setattr(ahandlers, "_SLICE", -1.0)
    calls: list = []
    enter = AsyncHandlerCall.enter

    def note(call):
        calls.append(call)
        return enter(call)

    def stop(task):
        calls[0].stop()
        task.cancel()

    class Stopped(noted(AsyncNoted)):  # type: ignore[misc]
        async def on_message(self, message):
            self.notes.append(message)
            asyncio.get_running_loop().call_soon(stop, asyncio.current_task())

    monkeypatch.setattr(AsyncHandlerCall, "enter", note)
    with served(site, Stopped).connect() as connection:
        connection.send("x")
        assert code_of(connection) == 1001
    assert Stopped.ended.wait(TIMEOUT)
    assert Stopped.notes == ["open", "x", 1001]


class PlainMessage(WebSocketView):
    cancel_on_disconnect = True
    notes: list
    begun: threading.Event
    go: threading.Event
    ended: threading.Event

    def on_message(self, message):
        self.begun.set()
        self.go.wait(TIMEOUT)
        self.notes.append("message ends")

    async def on_close(self, code):
        self.notes.append("close")
        self.ended.set()


class PlainMethod(PlainMessage):
    on_message = WebSocketView.on_message  # type: ignore[assignment]

    @on("x")
    def method(self):
        PlainMessage.on_message(self, None)

    @on("y")
    async def other(self): ...


@pytest.mark.parametrize("base", [PlainMessage, PlainMethod])
def test_on_close_waits_for_a_plain_handler_that_cannot_be_cancelled(
    site, monkeypatch, base
):
    cls = noted(base, begun=threading.Event(), go=threading.Event())
    peer_gone = AsyncHandlerCall._peer_gone

    def note(call, endpoint):
        peer_gone(call, endpoint)
        # After the steps that the cancelled task makes at once.
        asyncio.get_running_loop().call_later(0.1, cls.go.set)

    monkeypatch.setattr(AsyncHandlerCall, "_peer_gone", note)
    with served(site, cls).connect() as connection:
        connection.send('{"type": "x"}')
        assert cls.begun.wait(TIMEOUT)
        connection.socket.shutdown(socket.SHUT_RDWR)
        assert cls.ended.wait(TIMEOUT)
        assert tasks.runner.join(TIMEOUT)
    assert cls.notes == ["message ends", "close"]


def test_what_a_plain_handler_sets_holds_in_the_next_one(site):
    variable: contextvars.ContextVar = contextvars.ContextVar("variable")

    class Sets(WebSocketView):
        def on_message(self, message):
            variable.set([*variable.get([]), message])
            translation.activate("de")
            self.websocket.send(translation.get_language())

        async def on_close(self, code):
            notes.extend([*variable.get(), translation.get_language()])
            ended.set()

    notes: list = []
    ended = threading.Event()
    with served(site, Sets).connect() as connection:
        connection.send("a\n")
        connection.send("b\n")
        assert connection.recv(timeout=TIMEOUT) == "de"
        assert connection.recv(timeout=TIMEOUT) == "de"
    assert ended.wait(TIMEOUT)
    assert notes == ["a\n", "b\n", "de"]


def test_a_hidden_coroutine_is_a_mistake_that_is_named(site, caplog):
    def hide(handler):
        def wrapper(self, *args):
            return handler(self, *args)

        return wrapper

    class Hidden(WebSocketView):
        async def on_open(self): ...

        @hide
        async def on_message(self, message): ...

    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, Hidden).connect() as connection,
    ):
        connection.send("x")
        assert code_of(connection) == 1011
    assert "hides that" in caplog.text


def test_a_coroutine_that_a_plain_handler_returns_is_named(site, caplog):
    class Forgets(AsyncEcho):
        def on_open(self):
            return self.websocket.join("room")

    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, Forgets).connect() as connection,
    ):
        assert code_of(connection) == 1011
    assert "join(), which nobody awaits. Write 'async def'" in caplog.text

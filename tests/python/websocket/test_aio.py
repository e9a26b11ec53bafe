"""The WebSocket of asynchronous views, each behind a real server."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import random
import sys
import threading
import time
import warnings
from collections import Counter

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from dwebsocket import accept_websocket, hub, push, signals, websocket
from dwebsocket.exceptions import ReceiveTimeout, WebSocketClosed
from dwebsocket.websocket.aio import AsyncWebSocket

TIMEOUT = 20


class Box:
    """A value that a view hands over to its test."""

    def __init__(self):
        self._given = threading.Event()
        self.value = None

    def put(self, value=None):
        self.value = value
        self._given.set()

    def take(self):
        assert self._given.wait(TIMEOUT), "nothing was put"
        return self.value


def served(site, view, decorator=websocket, **options):
    """Serve one view, by a decorator with options."""
    return site({"": decorator(**options)(view) if options else decorator(view)})


async def echo(request):
    async for message in request.websocket:
        await request.websocket.send(message)


class TestReceiving:
    def test_messages_arrive_in_the_modern_dialect(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            assert isinstance(ws, AsyncWebSocket)
            box.put([await ws.wait(), await ws.receive(), await ws.receive_json()])

        with served(site, view).connect() as peer:
            for message in ("text", b"bytes", '{"a": 1}'):
                peer.send(message)
            assert box.take() == ["text", b"bytes", {"a": 1}]

    def test_messages_arrive_in_the_classic_dialect(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            box.put([await ws.wait(), await ws.receive()])

        with served(site, view, accept_websocket).connect() as peer:
            peer.send("text")
            peer.send(b"bytes")
            assert box.take() == [b"text", b"bytes"]

    def test_many_at_once_keep_their_order(self, site):
        with served(site, echo).connect() as peer:
            for number in range(2_000):
                peer.send(str(number))
            assert [peer.recv() for _ in range(2_000)] == [
                str(number) for number in range(2_000)
            ]

    def test_a_timeout_is_kept(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            begin = time.monotonic()
            got = [await ws.wait(0.05), await ws.wait(0), await ws.wait(timeout=0.01)]
            with pytest.raises(ReceiveTimeout) as caught:
                await ws.receive(0.01)
            assert isinstance(caught.value, TimeoutError)
            # uvloop counts in milliseconds: each of the three may end one too early.
            box.put([*got, time.monotonic() - begin >= 0.067])
            await ws.send(await ws.wait(TIMEOUT))
            await ws.send(await ws.receive(-1))

        with served(site, view).connect() as peer:
            assert box.take() == [None, None, None, True]
            peer.send("in time")
            assert peer.recv() == "in time"
            peer.send("without a limit")
            assert peer.recv() == "without a limit"

    def test_a_timeout_that_is_no_number_is_refused_at_once(self, site):
        box = Box()

        async def view(request):
            found = []
            for call in (request.websocket.wait, request.websocket.receive):
                try:
                    call("soon")
                except TypeError as error:
                    found.append(str(error))
            box.put(len(found))

        with served(site, view).connect():
            assert box.take() == 2

    def test_calls_that_never_wait_need_no_await(self, site):
        looked, box = Box(), Box()

        async def view(request):
            ws = request.websocket
            before = [ws.read(), ws.has_messages(), ws.count_messages()]
            assert await ws.can_read() is False
            looked.put(True)
            assert await ws.can_read(TIMEOUT) is True
            box.put([*before, ws.count_messages(), ws.read(), ws.is_closed()])

        with served(site, view).connect() as peer:
            # A message that comes earlier would be what read() returns.
            assert looked.take()
            peer.send("x")
            assert box.take()[-3:] == [1, "x", False]

    def test_several_tasks_may_ask_whether_they_can_read(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            patient = asyncio.create_task(ws.can_read(TIMEOUT))
            brief = asyncio.create_task(ws.can_read(0.01))
            assert await brief is False
            await ws.send("ready")
            box.put([await patient, await ws.can_read(), ws.read()])

        with served(site, view).connect() as peer:
            assert peer.recv() == "ready"
            peer.send("x")
            assert box.take() == [True, True, "x"]

    def test_several_tasks_wait_for_one_connection(self, site):
        async def view(request):
            ws = request.websocket
            waiting = [asyncio.create_task(ws.receive()) for _ in range(3)]
            await ws.send("ready")
            got = await asyncio.gather(*waiting)
            await ws.send_json(sorted(got))

        with served(site, view).connect() as peer:
            assert peer.recv() == "ready"
            for message in ("b", "a", "c"):
                peer.send(message)
            assert json.loads(peer.recv()) == ["a", "b", "c"]

    def test_asyncio_takes_it_for_a_coroutine(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            first, second = await asyncio.gather(ws.receive(), ws.wait())
            third = await asyncio.wait_for(ws.receive(), TIMEOUT)
            done, _ = await asyncio.wait([asyncio.ensure_future(ws.wait())])
            fourth = done.pop().result()
            box.put([first, second, third, fourth])

        with served(site, view).connect() as peer:
            for message in "abcd":
                peer.send(message)
            assert box.take() == ["a", "b", "c", "d"]

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup is of 3.11")
    def test_a_task_group_reads_and_writes(self, site):
        async def view(request):
            ws = request.websocket

            async def read():
                async for message in ws:
                    await ws.send(f"got {message}")
                raise WebSocketClosed(1000, "")

            async def tick():
                while True:
                    await ws.send("tick")
                    await asyncio.sleep(0.01)

            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(read())
                    group.create_task(tick())
            except BaseExceptionGroup:  # noqa: F821
                pass

        with served(site, view).connect() as peer:
            assert peer.recv() == "tick"
            peer.send("x")
            while peer.recv() == "tick":
                pass

    def test_the_signal_of_each_message_is_sent(self, site):
        heard = []

        def receiver(websocket, message, **named):
            heard.append((type(websocket), message))

        signals.websocket_message.connect(receiver)
        try:
            with served(site, echo).connect() as peer:
                peer.send("x")
                assert peer.recv() == "x"
        finally:
            signals.websocket_message.disconnect(receiver)
        assert heard == [(AsyncWebSocket, "x")]

    def test_the_old_callback_is_called(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            got = []
            ws.handle = lambda opcode, data: got.append((opcode, data))
            assert await ws.wait() == b"x"
            assert await ws.wait() is None
            box.put(got)

        with served(site, view, accept_websocket).connect() as peer:
            peer.send("x")
        assert box.take() == [(1, b"x"), (8, None)]


class TestTheEnd:
    def test_in_the_modern_dialect_is_none_for_ever(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            first = await ws.receive()
            ends = [await ws.wait() for _ in range(4)]
            box.put([first, ends, [m async for m in ws], ws.is_closed()])

        with served(site, view).connect() as peer:
            peer.send("last")
        assert box.take() == ["last", [None] * 4, [], True]

    def test_in_the_classic_dialect_is_one_none(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            assert await ws.wait() is None
            errors = 0
            for _ in range(2):
                try:
                    await ws.wait()
                except EOFError:
                    errors += 1
            box.put(errors)

        with served(site, view, accept_websocket).connect():
            pass
        assert box.take() == 2

    def test_iteration_in_the_classic_dialect_yields_it(self, site):
        box = Box()

        async def view(request):
            got = [message async for message in request.websocket]
            try:
                async for _ in request.websocket:
                    pass
            except EOFError:
                got.append("EOFError")
            box.put(got)

        with served(site, view, accept_websocket).connect() as peer:
            peer.send("x")
        assert box.take() == [b"x", None, "EOFError"]

    def test_receive_tells_code_and_reason(self, site):
        box = Box()

        async def view(request):
            found = []
            for _ in range(5):
                try:
                    await request.websocket.receive()
                except WebSocketClosed as closed:
                    found.append((closed.code, closed.reason))
            box.put(found)

        with served(site, view).connect() as peer:
            peer.close(4001, "enough")
        assert box.take() == [(4001, "enough")] * 5

    def test_a_close_of_the_views_own_wakes_its_other_tasks(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            waiting = asyncio.create_task(ws.wait())
            await asyncio.sleep(0)
            ws.close(4000, "mine")
            box.put([await waiting, await ws.wait(), await ws.send("late")])

        with served(site, view).connect() as peer:
            with pytest.raises(ConnectionClosed) as caught:
                peer.recv()
            assert caught.value.rcvd == Close(4000, "mine")
        assert box.take() == [None, None, False]

    def test_a_view_that_overlooks_it_lets_others_run(self, site):
        """Neither wait() nor send() in a loop may stop the loop of all views."""
        stop = threading.Event()

        async def waits(request):
            while not stop.is_set():
                await request.websocket.wait()

        async def sends(request):
            while not stop.is_set():
                await request.websocket.send("x")

        async def receives(request):
            while not stop.is_set():
                with contextlib.suppress(WebSocketClosed):
                    await request.websocket.receive()

        views = {"waits": waits, "sends": sends, "receives": receives, "": echo}
        running = site({path: websocket(view) for path, view in views.items()})
        try:
            for path in ("waits", "sends", "receives"):
                with running.connect(path, close_timeout=0.2):
                    pass
            with running.connect() as peer:
                for _ in range(20):
                    peer.send("x")
                    assert peer.recv() == "x"
        finally:
            stop.set()

    @pytest.mark.parametrize("call", ["wait", "send"])
    def test_ends_a_view_that_overlooks_it(self, site, caplog, call):
        ended = Box()

        async def view(request):
            ws = request.websocket
            try:
                while True:
                    await (ws.wait() if call == "wait" else ws.send("x"))
                    await asyncio.sleep(0.01)
            finally:
                ended.put()

        with served(site, view, gone_timeout=0.1).connect(close_timeout=0.2):
            pass
        ended.take()
        deadline = time.monotonic() + TIMEOUT
        while "GONE_TIMEOUT" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_does_not_end_a_view_that_serves_others(self, site):
        members, stop, seen = [], threading.Event(), Box()

        async def member(request):
            members.append(request.websocket)
            await request.websocket.wait()

        async def view(request):
            ws = request.websocket
            begin = time.monotonic()
            try:
                while time.monotonic() - begin < 0.5:
                    await ws.send("x")
                    for one in members:
                        one.send("served")
                    await asyncio.sleep(0.01)
            except BaseException as error:
                seen.put(repr(error))
                raise
            seen.put("served to the end")

        running = site(
            {"": websocket(gone_timeout=0.1)(view), "member": websocket(member)}
        )
        with running.connect("member", close_timeout=0.2) as peer:
            with running.connect(close_timeout=0.2):
                pass
            assert peer.recv() == "served"
            assert seen.take() == "served to the end"
        stop.set()


class TestSending:
    def test_acts_when_it_is_called(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for number in range(100):
                    ws.send(str(number))
            box.put(ws.stats["sent_messages"])
            await ws.wait()

        with served(site, view).connect() as peer:
            assert [peer.recv() for _ in range(100)] == [str(n) for n in range(100)]
            assert box.take() == 100

    def test_returns_an_awaitable_that_is_no_coroutine(self, site):
        box = Box()

        async def view(request):
            sent = request.websocket.send("x")
            box.put(
                [
                    inspect.isawaitable(sent),
                    inspect.iscoroutine(sent),
                    asyncio.iscoroutine(sent),
                    await sent,
                    await sent,
                    await asyncio.gather(sent, request.websocket.send_json([1])),
                ]
            )

        with served(site, view).connect() as peer:
            assert [peer.recv(), peer.recv()] == ["x", "[1]"]
        assert box.take() == [True, False, False, True, True, [True, True]]

    @pytest.mark.parametrize(
        ("decorator", "expected"), [(websocket, b"x"), (accept_websocket, "x")]
    )
    def test_bytes_are_sent_by_the_rules_of_the_dialect(
        self, site, decorator, expected
    ):
        async def view(request):
            for message in (b"x", bytearray(b"x"), memoryview(b"x")):
                await request.websocket.send(message)
            await request.websocket.send(b"x", False)

        with served(site, view, decorator).connect() as peer:
            assert [peer.recv() for _ in range(4)] == [*[expected] * 3, "x"]

    def test_from_threads_and_synchronous_views_reaches_tasks(self, site):
        members = []

        async def member(request):
            members.append(request.websocket)
            async for _ in request.websocket:
                pass

        def sync(request):
            for message in request.websocket:
                for one in members:
                    one.send(f"sync {message}")

        async def task(request):
            async for message in request.websocket:
                for one in members:
                    one.send(f"task {message}")

        views = {"member": member, "sync": sync, "task": task}
        running = site({path: websocket(view) for path, view in views.items()})
        with running.connect("member") as peer, running.connect("sync") as first:
            first.send("a")
            assert peer.recv() == "sync a"
            with running.connect("task") as second:
                second.send("b")
                assert peer.recv() == "task b"
            thread = threading.Thread(target=lambda: members[0].send("thread"))
            thread.start()
            assert peer.recv() == "thread"
            thread.join()

    def test_groups_reach_members_of_both_kinds(self, site):
        async def task(request):
            ws = request.websocket
            await ws.join("mixed")
            await ws.send("in")
            async for message in ws:
                await hub.group("mixed").asend(f"task {message}")

        def sync(request):
            request.websocket.join("mixed")
            request.websocket.send("in")
            for message in request.websocket:
                hub.group("mixed").send(f"sync {message}")

        running = site({"task": websocket(task), "sync": websocket(sync)})
        with running.connect("task") as first, running.connect("sync") as second:
            assert [first.recv(), second.recv()] == ["in", "in"]
            first.send("x")
            assert [first.recv(), second.recv()] == ["task x", "task x"]
            second.send("y")
            assert [first.recv(), second.recv()] == ["sync y", "sync y"]
            push.to_group("mixed", "pushed")
            assert [first.recv(), second.recv()] == ["pushed", "pushed"]

    def test_on_a_closed_connection_does_nothing(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            await ws.wait()
            box.put([await ws.send("late"), await ws.send("late", overflow="block")])

        with served(site, view).connect():
            pass
        assert box.take() == [False, False]

    def test_what_is_no_message_is_refused(self, site):
        box = Box()

        async def view(request):
            ws, found = request.websocket, []
            for wrong in (None, 7, {"a": 1}, ws.wait()):
                try:
                    ws.send(wrong)
                except TypeError as error:
                    found.append(str(error))
            box.put(found)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with served(site, view).connect():
                found = box.take()
        assert len(found) == 4
        assert "await request.websocket.wait()" in found[3]


SMALL = {"outbox_messages": 8, "outbox_bytes": 65_536, "compression": "off"}


class TestAFullOutbox:
    def test_an_await_waits_for_room(self, site):
        ahead, done = Box(), Box()

        async def view(request):
            ws = request.websocket
            count = 0
            for number in range(400):
                sending = ws.send(f"{number:04}" * 4_096)
                waits = asyncio.ensure_future(sending)
                finished, _ = await asyncio.wait([waits], timeout=0.2)
                if not finished and not ahead.value:
                    ahead.put(number)
                assert await waits is True
                count += 1
            done.put(count)
            await ws.wait()

        running = served(site, view, **SMALL)
        with running.connect(max_queue=1, max_size=None, close_timeout=0.2) as peer:
            # The client's library reads a few messages and then stops.
            assert ahead.take() < 399
            got = [peer.recv()[:4] for _ in range(400)]
            assert got == [f"{number:04}" for number in range(400)]
            assert done.take() == 400

    @pytest.mark.parametrize("overflow", ["auto", "block"])
    def test_an_await_makes_room_for_a_message_of_any_size(self, site, overflow):
        box = Box()

        async def view(request):
            ws, sent = request.websocket, []
            for _ in range(3):
                sent.append(await ws.send("x" * 9_000_000))
                sent.append(await ws.send("x" * 9_000_000, overflow=overflow))
            box.put([sent, ws.close_code, ws.stats["dropped_messages"]])

        options = {"outbox_bytes": 4_000_000, "compression": "off"}
        running = served(site, view, overflow=overflow, **options)
        with running.connect(max_size=None) as peer:
            assert [len(peer.recv()) for _ in range(6)] == [9_000_000] * 6
            assert box.take() == [[True] * 6, None, 0]

    def test_a_view_that_never_waits_is_cut_off(self, site, caplog):
        box = Box()

        async def view(request):
            ws = request.websocket
            sent = 0
            while ws.close_code is None and sent < 10_000:
                ws.send("x" * 16_384)
                sent += 1
            box.put([ws.close_code, sent - ws.stats["dropped_messages"]])

        with served(site, view, **SMALL).connect(
            max_queue=1, max_size=None, close_timeout=0.2
        ) as peer:
            code, count = box.take()
            assert code == 1013
            # What was not dropped arrives.
            for _ in range(count):
                assert len(peer.recv()) == 16_384
            with pytest.raises(ConnectionClosed):
                peer.recv()

    def test_an_await_ends_after_the_send_timeout(self, site):
        box = Box()

        async def view(request):
            ws = request.websocket
            sent = True
            for _ in range(10_000):
                sent = await ws.send("x" * 16_384)
                if not sent:
                    break
            box.put([sent, ws.close_code])

        running = served(site, view, send_timeout=0.2, **SMALL)
        with running.connect(max_queue=1, max_size=None, close_timeout=0.2):
            assert box.take() == [False, 1013]

    @pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
    def test_messages_are_dropped_by_the_policy(self, site, overflow):
        box = Box()

        async def view(request):
            ws = request.websocket
            for _ in range(2_000):
                ws.send("x" * 16_384)
            box.put([ws.stats["dropped_messages"] > 0, ws.close_code])

        running = served(site, view, overflow=overflow, **SMALL)
        with running.connect(max_queue=1, max_size=None, close_timeout=0.2):
            assert box.take() == [True, None]

    def test_a_cancelled_await_keeps_the_message(self, site):
        sent = Box()

        async def view(request):
            ws = request.websocket
            number = 0
            while True:
                waiting = asyncio.ensure_future(ws.send(f"{number:04}" * 4_096))
                number += 1
                finished, _ = await asyncio.wait([waiting], timeout=0.2)
                if not finished:
                    waiting.cancel()
                    break
            sent.put(number)
            await ws.wait()

        running = served(site, view, **SMALL)
        with running.connect(max_queue=1, max_size=None, close_timeout=0.2) as peer:
            count = sent.take()
            got = [peer.recv()[:4] for _ in range(count)]
            assert got == [f"{number:04}" for number in range(count)]


class TestCancellation:
    def test_cancelled_receives_lose_and_double_nothing(self, site):
        """5,000 receives are cancelled while messages arrive."""
        count, box = 3_000, Box()

        async def view(request):
            ws = request.websocket
            got, cancelled, chance = [], 0, random.Random(7)

            async def take():
                got.append(await ws.receive())

            await ws.send("ready")
            while len(got) < count or cancelled < 5_000:
                task = asyncio.create_task(take() if cancelled % 2 else ws.receive())
                direct = not cancelled % 2
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if len(got) >= count:
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    message = await task
                    if direct:
                        got.append(message)
                except asyncio.CancelledError:
                    cancelled += 1
            box.put([got, cancelled])

        with served(site, view, inbox_messages=10_000).connect() as peer:
            assert peer.recv() == "ready"
            for number in range(count):
                peer.send(str(number))
                if number % 50 == 0:
                    time.sleep(0.001)
            got, cancelled = box.take()
        assert cancelled >= 5_000
        assert [n for n, times in Counter(got).items() if times > 1] == []
        assert got == [str(number) for number in range(count)]

    @pytest.mark.parametrize("how", ["wait_for", "timeout"])
    def test_time_limits_lose_and_double_nothing(self, site, how):
        if how == "timeout" and sys.version_info < (3, 11):
            pytest.skip("asyncio.timeout() is of 3.11")
        count, box = 2_000, Box()

        async def limited(ws, limit):
            if how == "wait_for":
                return await asyncio.wait_for(ws.receive(), limit)
            async with asyncio.timeout(limit):
                return await ws.receive()

        async def view(request):
            ws = request.websocket
            got, late, chance = [], 0, random.Random(8)
            await ws.send("ready")
            while len(got) < count:
                try:
                    got.append(await limited(ws, chance.random() / 2_000))
                except (TimeoutError, asyncio.TimeoutError):
                    late += 1
            box.put([got, late])

        with served(site, view, inbox_messages=10_000).connect() as peer:
            assert peer.recv() == "ready"
            for number in range(count):
                peer.send(str(number))
                if number % 4 == 0:
                    time.sleep(0.0005)
            got, late = box.take()
        assert late > 0
        assert got == [str(number) for number in range(count)]

    def test_the_own_time_limit_loses_and_doubles_nothing(self, site):
        count, box = 2_000, Box()

        async def view(request):
            ws = request.websocket
            got, chance = [], random.Random(9)
            await ws.send("ready")
            while len(got) < count:
                message = await ws.wait(chance.random() / 2_000)
                if message is not None:
                    got.append(message)
            box.put(got)

        with served(site, view, inbox_messages=10_000).connect() as peer:
            assert peer.recv() == "ready"
            for number in range(count):
                peer.send(str(number))
                if number % 4 == 0:
                    time.sleep(0.0005)
            assert box.take() == [str(number) for number in range(count)]


class TestMistakes:
    """What is not awaited says so, where it can."""

    def test_words(self, site):
        box = Box()

        async def view(request):
            ws, found = request.websocket, []
            mistakes = [
                lambda: ws.wait() == "x",
                lambda: not ws.wait(),
                lambda: ws.receive().decode(),
                lambda: list(ws),
            ]
            for mistake in mistakes:
                try:
                    mistake()
                except (TypeError, AttributeError) as error:
                    found.append(str(error))
            box.put(found)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with served(site, view).connect():
                found = box.take()
        assert len(found) == 4
        assert all("await" in text or "async for" in text for text in found)

    def test_a_forgotten_await_of_wait_warns(self, site):
        box = Box()

        async def view(request):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                request.websocket.wait()
            box.put([str(one.message) for one in caught])

        with served(site, view).connect():
            (text,) = box.take()
        assert "wait() was not awaited" in text

    def test_a_synchronous_websocket_is_no_asynchronous_iterator(self, pair):
        socket, _ = pair()

        async def iterate():
            async for _ in socket:
                pass

        with pytest.raises(TypeError, match="synchronous view"):
            asyncio.run(iterate())


def test_a_blocked_loop_still_answers_pings_and_reads(site):
    """The engine's watch reads for a loop that is late."""
    blocked, release = Box(), threading.Event()

    async def view(request):
        blocked.put()
        release.wait(TIMEOUT)
        async for message in request.websocket:
            await request.websocket.send(message)

    running = site({"blocks": websocket(view), "": websocket(echo)})
    with running.connect() as peer, running.connect("blocks"):
        blocked.take()
        try:
            assert peer.ping().wait(TIMEOUT), "no pong from a connection of a late loop"
            peer.send("meanwhile")
        finally:
            release.set()
        assert peer.recv() == "meanwhile"

"""The mailbox, over an engine whose broker answers when a test says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings

from dwebsocket.channels import ChannelLayer
from dwebsocket.channels import post as module
from dwebsocket.channels.layer import _unpack
from dwebsocket.channels.post import Post

#: Seconds that a thread may take.
LIMIT = 10


class Engine:
    """The part of the engine that mailboxes use; also a connection and its far end."""

    Options = dict
    member_id = "me"

    def __init__(self) -> None:
        self.answers, self.knows = threading.Event(), threading.Event()
        self.answers.set()
        self.knows.set()
        self.began = threading.Semaphore(0)
        self.sent: list[tuple[str, Any]] = []
        self.failures: list[Exception | None] = []
        self.asked: SimpleQueue[str] = SimpleQueue()
        self.listens: set[str] = set()
        self.letters: SimpleQueue[bytes | None] = SimpleQueue()
        self.ended = self.is_over = False
        self._next: bytes | None = None

    def connect_mailbox(self, options: Any) -> tuple[Engine, Engine]:
        return self, self

    def publish(self, kind: str, targets: list[str], letter: bytes, **_: Any) -> None:
        self.began.release()
        assert self.answers.wait(LIMIT)
        self.sent.append((targets[0].rpartition("~")[2].split(":", 2)[2], letter))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure

    def identify(self, user: str, timeout: float) -> None:
        if ":g:" in user:
            self.asked.put(user)
            assert self.knows.wait(LIMIT)
        self.listens.add(user.split(":", 2)[2])

    def forget_user(self, user: str) -> None:
        self.listens.discard(user.split(":", 2)[2])

    def wait(self) -> None:
        self._next = self.letters.get()

    def drain(self, most: int) -> list[dict[str, Any]]:
        self.is_over = self._next is None
        return [] if self._next is None else [{"bytes": self._next}]

    def hang_up(self) -> None:
        self.ended = True
        self.letters.put(None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine()
    monkeypatch.setattr(module, "_engine", engine)
    monkeypatch.setattr(module, "connecting", SimpleNamespace(connect=lambda: None))
    with override_settings(DWEBSOCKET={"BROKER": "redis://nowhere.example"}):
        yield engine
        engine.answers.set()
        engine.knows.set()


@pytest.fixture
def post(engine: Engine) -> Iterator[Post]:
    post = Post("t", lambda letter: None, [], lambda: None)
    yield post
    post.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


async def begun(engine: Engine) -> None:
    """Wait until the broker was asked to publish a letter."""
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, engine.began.acquire, True, LIMIT)


MESSAGE = {"type": "m"}
FAR = "specific.far!1"


@pytest.mark.parametrize(
    "call",
    [
        lambda layer: layer.send(FAR, MESSAGE),
        lambda layer: layer.send("work", MESSAGE),
        lambda layer: layer.group_send("group", MESSAGE),
        lambda layer: layer.group_add("group", FAR),
        lambda layer: layer.group_discard("group", FAR),
        lambda layer: layer.group_discard("group", "work"),
        lambda layer: layer.flush(),
    ],
    ids=["send", "offer", "group_send", "add", "discard", "discard_any", "flush"],
)
def test_a_slow_broker_stops_no_event_loop(
    engine: Engine, call: Callable[[ChannelLayer], Coroutine[Any, Any, None]]
):
    async def test() -> None:
        layer = ChannelLayer()
        await layer.new_channel()
        engine.answers.clear()
        # Without a thread, the loop would wait for the broker until this.
        giving_up = threading.Timer(1, engine.answers.set)
        giving_up.start()
        calling = asyncio.create_task(call(layer))
        await begun(engine)
        assert not engine.answers.is_set()
        assert not calling.done()
        giving_up.cancel()
        engine.answers.set()
        await calling
        assert len(engine.sent) == 1
        await layer.close()

    run(test())


def test_letters_keep_their_order_also_if_a_sender_is_cancelled(engine: Engine):
    async def test() -> None:
        complaints: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        layer = ChannelLayer()
        await layer.new_channel()
        engine.answers.clear()
        engine.failures = [None, None, OSError("of the cancelled one")]
        sending = [
            asyncio.create_task(layer.send(FAR, {"type": "m", "number": number}))
            for number in range(5)
        ]
        await begun(engine)
        sending[2].cancel()
        await asyncio.wait((sending[2],))
        engine.answers.set()
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(one) for one in outcomes if one] == [asyncio.CancelledError]
        await layer.close()
        numbers = [_unpack(_unpack(letter)[3])["number"] for _, letter in engine.sent]
        assert numbers == [0, 1, 2, 3, 4]
        assert complaints == []

    run(test())


def test_a_failure_is_raised_by_the_send(engine: Engine):
    async def test() -> None:
        layer = ChannelLayer()
        engine.failures = [OSError("the engine stops")]
        with pytest.raises(OSError, match="the engine stops"):
            await layer.group_send("group", MESSAGE)
        await layer.group_send("group", MESSAGE)
        await layer.close()

    run(test())


def test_senders_wait_for_room(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        monkeypatch.setattr(module, "_MESSAGES", 2)
        layer = ChannelLayer()
        await layer.new_channel()
        engine.answers.clear()
        sending = [
            asyncio.create_task(layer.group_send("group", MESSAGE)) for _ in range(9)
        ]
        await begun(engine)
        engine.answers.set()
        await asyncio.gather(*sending)
        assert len(engine.sent) == 9
        assert layer._store.dropped == 0
        await layer.close()

    run(test())


def test_who_cannot_wait_builds_no_long_queue(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    async def test() -> None:
        monkeypatch.setattr(module, "_MESSAGES", 2)
        layer = ChannelLayer()
        await layer.new_channel()
        engine.answers.clear()
        for _ in range(5):
            layer._offer("work")
        assert layer._store.dropped == 3
        engine.answers.set()
        await layer.close()
        assert len(engine.sent) == 2

    run(test())


def test_the_bytes_of_letters_are_limited_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    lost: list[int] = []
    post = Post("t", lambda letter: None, [], lambda: lost.append(1))
    monkeypatch.setattr(module, "_BYTES", 100)
    engine.answers.clear()
    sent = [post.send("x", b"x" * 60) for _ in range(3)]
    assert (lost, sent[2].done(), sent[1].done()) == ([1], True, False)
    engine.answers.set()
    sent[1].result(LIMIT)
    post.send("x", b"x" * 1_000).result(LIMIT)
    post.close()
    assert [len(letter) for _, letter in engine.sent] == [60, 60, 1_000]


def test_the_thread_that_reads_waits_for_room(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_MESSAGES", 1)
    answered: SimpleQueue[Future[None]] = SimpleQueue()
    lost: list[int] = []

    def deliver(letter: bytes) -> None:
        for _ in range(3):
            answered.put(post.send("x", letter))

    post = Post("t", deliver, [], lambda: lost.append(1))
    engine.answers.clear()
    engine.letters.put(b"want")
    assert engine.began.acquire(timeout=LIMIT)
    engine.answers.set()
    for _ in range(3):
        answered.get(timeout=LIMIT).result(LIMIT)
    post.close()
    assert (len(engine.sent), lost) == (3, [])


def test_no_sender_waits_longer_than_the_setting_says(engine: Engine):
    async def test() -> None:
        layer = ChannelLayer()
        await layer.new_channel()
        engine.answers.clear()
        await layer.group_send("group", MESSAGE)
        assert engine.sent == []
        await layer.close()
        engine.answers.set()

    with override_settings(
        DWEBSOCKET={"BROKER": "redis://nowhere.example", "BROKER_TIMEOUT": 0.05}
    ):
        run(test())


def test_nothing_is_refused_at_the_end_of_the_interpreter(
    engine: Engine, post: Post, monkeypatch: pytest.MonkeyPatch
):
    # Executors refuse from then on.
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)
    post.listen("g:one").result(LIMIT)
    post.send("g:one", b"x").result(LIMIT)
    assert len(engine.sent) == 1


def test_an_address_is_asked_for_once_at_a_time(engine: Engine, post: Post):
    engine.knows.clear()
    first = post.listen("g:one")
    assert post.listen("g:one") is first
    engine.asked.get(timeout=LIMIT)
    # A departure meanwhile does not make void what others wait for.
    post.leave("g:one")
    assert post.listen("g:one") is first
    engine.knows.set()
    first.result(LIMIT)
    assert "g:one" in engine.listens
    engine.asked.get(timeout=LIMIT)
    assert engine.asked.empty()
    post.leave("g:one")
    assert "g:one" not in engine.listens


def test_addresses_that_wait_are_limited(
    engine: Engine, post: Post, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_ADDRESSES", 2)
    engine.knows.clear()
    waiting = [post.listen(f"g:{number}") for number in range(3)]
    with pytest.raises(OSError, match="too many"):
        waiting[2].result(LIMIT)
    engine.knows.set()
    for listening in waiting[:2]:
        listening.result(LIMIT)


def test_a_closed_mailbox_has_sent_what_waited_and_has_no_threads(engine: Engine):
    before = set(threading.enumerate())
    lost: list[int] = []
    post = Post("t", lambda letter: None, ["n:me"], lambda: lost.append(1))
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    engine.answers.clear()
    for number in range(3):
        post.send("x", str(number).encode())
    last = post.close()
    assert last is not None
    assert post.send("x", b"late").done()
    assert lost == [1]
    with pytest.raises(OSError, match="closed"):
        post.listen("g:one").result(LIMIT)
    engine.answers.set()
    last.result(LIMIT)
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert [letter for _, letter in engine.sent] == [b"0", b"1", b"2"]

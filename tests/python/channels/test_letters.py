"""Layers of several processes, joined by a post office that loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from django.test import override_settings

from dwebsocket.channels import ChannelLayer
from dwebsocket.channels import layer as module


def done() -> Future[None]:
    """Return a future with which nobody waits."""
    future: Future[None] = Future()
    future.set_result(None)
    return future


class Office:
    """Delivers letters at once, in the thread that sends them."""

    def __init__(self) -> None:
        self.posts: list[Post] = []

    def addresses(self) -> set[str]:
        """Return what any mailbox listens to."""
        return set().union(*(post.addresses for post in self.posts))


class Post:
    """The mailbox of a layer."""

    office: Office

    def __init__(
        self,
        prefix: str,
        deliver: Callable[[bytes], None],
        own: Any,
        lost: Callable[[], None],
    ) -> None:
        self.addresses: set[str] = set()
        self.is_usable = True
        self.full: Future[None] | None = None
        self._prefix, self._deliver = prefix, deliver
        self.ready = [self.listen(address) for address in own]
        self.office.posts.append(self)

    def listen(self, address: str) -> Future[None]:
        self.addresses.add(f"{self._prefix}:{address}")
        return done()

    def leave(self, address: str) -> None:
        self.addresses.discard(f"{self._prefix}:{address}")

    def send(self, address: str, letter: bytes) -> Future[None]:
        for post in self.office.posts:
            if post is not self and f"{self._prefix}:{address}" in post.addresses:
                post._deliver(letter)
        return done()

    def close(self) -> None:
        self.is_usable = False
        self.addresses.clear()


@pytest.fixture(autouse=True)
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(module, "Post", Post)
    Post.office = Office()
    with override_settings(DWEBSOCKET={"BROKER": "redis://nowhere.example"}):
        yield Post.office


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


async def nothing_comes(layer: ChannelLayer, channel: str) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.05)


def message(number: int) -> dict[str, Any]:
    return {"type": "m", "number": number}


def test_channels_of_other_processes():
    async def test() -> None:
        one, two = ChannelLayer(), ChannelLayer(capacity=2)
        name = await two.new_channel()
        receiving = asyncio.create_task(two.receive(name))
        await asyncio.sleep(0)
        await one.send(name, message(1))
        assert await receiving == message(1)
        for number in range(3):
            # The sender does not learn that it is full.
            await one.send(name, message(number))
        assert [(await two.receive(name))["number"] for _ in range(2)] == [0, 1]
        await nothing_comes(two, name)
        assert two._store.dropped == 1

    run(test())


def test_groups(office: Office):
    async def test() -> None:
        one, two, other = ChannelLayer(), ChannelLayer(), ChannelLayer(prefix="other")
        names = [await layer.new_channel() for layer in (one, two, other)]
        # Each by the other one.
        await one.group_add("group", names[1])
        await two.group_add("group", names[0])
        await other.group_add("group", names[2])
        await one.group_send("group", message(1))
        assert await one.receive(names[0]) == message(1)
        assert await two.receive(names[1]) == message(1)
        await nothing_comes(other, names[2])
        await one.group_discard("group", names[1])
        await two.group_send("group", message(2))
        assert await one.receive(names[0]) == message(2)
        await nothing_comes(two, names[1])
        # Nobody listens to a group without members.
        assert not any("asgi:g:group" in p.addresses for p in office.posts[1:])
        await one.group_discard("group", names[0])
        assert not any("asgi:g:group" in p.addresses for p in office.posts)

    run(test())


def test_a_channel_of_all_processes_is_discarded_where_it_was_added():
    async def test() -> None:
        one, two = ChannelLayer(), ChannelLayer()
        await one.group_add("group", "work")
        await two._mail()
        await two.group_discard("group", "work")
        await two.group_send("group", message(1))
        await nothing_comes(one, "work")

    run(test())


def test_one_receiver_gets_a_message():
    async def test() -> None:
        sender, one, two = (ChannelLayer() for _ in range(3))
        await sender.send("work", message(0))
        got: list[int] = []

        async def work(layer: ChannelLayer) -> None:
            while True:
                got.append((await layer.receive("work"))["number"])

        tasks = [asyncio.create_task(work(layer)) for layer in (one, two, two)]
        for number in range(1, 50):
            await sender.send("work", message(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        while len(got) < 50:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        assert sorted(got) == list(range(50))

    run(test())


def test_a_receiver_that_is_cancelled_gives_others_its_message():
    async def test() -> None:
        sender, one, two = (ChannelLayer() for _ in range(3))
        first = asyncio.create_task(one.receive("work"))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(two.receive("work"))
        await asyncio.sleep(0.01)
        first.cancel()
        # It has been woken by the message in the same step.
        await sender.send("work", message(1))
        assert await second == message(1)
        assert first.cancelled()

    run(test())


def slow(
    monkeypatch: pytest.MonkeyPatch, listening: list[Future[None]], to: str = "c:"
) -> Callable[[], None]:
    """Have the broker answer when the test says so; return what switches that off."""
    at_once = Post.listen

    def listen(post: Post, address: str) -> Future[None]:
        if not address.startswith(to):
            return at_once(post, address)
        listening.append(Future())
        # It is registered when the broker answers.
        listening[-1].add_done_callback(lambda _: at_once(post, address))
        return listening[-1]

    monkeypatch.setattr(Post, "listen", listen)
    return lambda: monkeypatch.setattr(Post, "listen", at_once)


def test_a_receiver_that_is_cancelled_has_asked_for_others(
    monkeypatch: pytest.MonkeyPatch,
):
    async def test() -> None:
        sender, worker = ChannelLayer(), ChannelLayer()
        await sender.send("work", message(1))
        listening: list[Future[None]] = []
        slow(monkeypatch, listening)
        first = asyncio.create_task(worker.receive("work"))
        while not listening:
            await asyncio.sleep(0)
        second = asyncio.create_task(worker.receive("work"))
        first.cancel()
        await asyncio.sleep(0.01)
        listening[0].set_result(None)
        assert await second == message(1)
        assert len(listening) == 1

    run(test())


def test_a_broker_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        sender, worker = ChannelLayer(), ChannelLayer()
        await sender.send("work", message(1))
        listening: list[Future[None]] = []
        recovered = slow(monkeypatch, listening)
        waiting = [asyncio.create_task(worker.receive("work")) for _ in range(2)]
        while not listening:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        listening[0].set_exception(OSError("no broker"))
        # None of them waits for what nobody has asked for.
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [OSError, OSError]
        recovered()
        assert await worker.receive("work") == message(1)

    run(test())


async def offered(worker: ChannelLayer, count: int) -> list[asyncio.Task[Any]]:
    """Have receivers wait that know of two processes with messages."""
    receivers = [asyncio.create_task(worker.receive("work")) for _ in range(count)]
    await asyncio.sleep(0.01)
    for node in "AB":
        worker._deliver(letter(module._HAVE, "work", node))
    return receivers


def letter(*parts: Any) -> bytes:
    return module._letter(list(parts))


def test_the_next_process_is_asked_when_one_has_nothing_left(
    monkeypatch: pytest.MonkeyPatch,
):
    async def test() -> None:
        asked: list[tuple[str, Any]] = []
        monkeypatch.setattr(
            Post, "send", lambda _, to, sent: asked.append((to, module._unpack(sent)))
        )
        worker = ChannelLayer()
        receivers = await offered(worker, 3)
        question = [module._WANT, "work", worker._node]
        assert asked[1:] == [("n:A", [*question, 3])]
        # Other receivers have been faster.
        for _ in range(3):
            worker._deliver(letter(module._NOTHING, "work"))
        assert asked[2:] == [("n:B", [*question, 1])]
        # It has more than it was asked for.
        packed = module._pack(message(1))
        expires = time.time() + 60
        parts = [module._DIRECT, "work", expires, packed, True, "B"]
        worker._deliver(letter(*parts))
        assert asked[3:] == [("n:B", [*question, 2])]
        for _ in range(2):
            worker._deliver(letter(*parts[:4], False, "B"))
        assert await asyncio.gather(*receivers) == [message(1)] * 3
        assert len(asked) == 4
        assert worker._offers._channels["work"].asked == 0

    run(test())


def test_a_letter_that_was_lost_is_asked_for_again(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        sender, worker = ChannelLayer(), ChannelLayer()
        receiving = asyncio.create_task(worker.receive("work"))
        await asyncio.sleep(0.01)
        # As if an answer were under way, for ever.
        asked = worker._offers._channels["work"]
        asked.asked, asked.since = 1, -1_000.0
        await sender.send("work", message(1))
        assert await receiving == message(1)

    run(test())


def test_the_next_process_is_asked_when_one_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
):
    async def test() -> None:
        monkeypatch.setattr(module, "_PATIENCE", 0.05)
        monkeypatch.setattr(module, "_LEAST", 0.05)
        sender, worker = ChannelLayer(), ChannelLayer()
        receiving = asyncio.create_task(worker.receive("work"))
        while "asgi:c:work" not in Post.office.addresses():
            await asyncio.sleep(0)
        # It has ended since it offered a message, and will not answer.
        worker._deliver(letter(module._HAVE, "work", "gone"))
        await sender.send("work", message(1))
        assert await asyncio.wait_for(receiving, 10) == message(1)

    run(test())


def test_a_message_that_comes_too_late_is_counted_and_nobody_leaves_a_group():
    async def test() -> None:
        layer = ChannelLayer()
        name = await layer.new_channel()
        await layer.group_add("group", name)
        packed, past = module._pack(message(1)), time.time() - 1
        layer._deliver(letter(module._GROUP, "group", past, packed))
        layer._deliver(letter(module._DIRECT, name, past, packed, False))
        assert layer._store.dropped == 2
        await layer.group_send("group", message(2))
        assert await layer.receive(name) == message(2)

    run(test())


def test_groups_that_lose_their_members_are_left(office: Office):
    async def test() -> None:
        one, two = ChannelLayer(group_expiry=0.05), ChannelLayer()
        await one.group_add("expires", "one")
        await two.group_add("flushed", "two")
        assert {"asgi:g:expires", "asgi:g:flushed"} < office.addresses()
        await two.flush()
        assert "asgi:g:flushed" not in office.addresses()
        while one._store.has("expires"):
            await one.group_send("expires", message(1))
        assert "asgi:g:expires" not in office.addresses()

    run(test())


def test_a_group_that_is_discarded_before_the_broker_answers_is_left(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    async def test() -> None:
        layer = ChannelLayer()
        listening: list[Future[None]] = []
        slow(monkeypatch, listening, "g:")
        adding = asyncio.create_task(layer.group_add("group", "one"))
        while not listening:
            await asyncio.sleep(0)
        adding.cancel()
        await layer.group_discard("group", "one")
        listening[0].set_result(None)
        assert "asgi:g:group" not in office.addresses()

    run(test())


def test_a_mailbox_that_is_opened_again_listens_to_the_groups(office: Office):
    async def test() -> None:
        one, two = ChannelLayer(), ChannelLayer()
        name = await one.new_channel()
        await one.group_add("group", name)
        await one.close()
        await one.new_channel()
        await two.group_send("group", message(1))
        assert await one.receive(name) == message(1)

    run(test())


def test_a_channel_without_receivers_is_left(office: Office):
    async def test() -> None:
        layer, sender = ChannelLayer(expiry=0.05), ChannelLayer()
        await sender.send("work", message(1))
        await sender.send("busy", message(2))
        assert await layer.receive("work") == message(1)
        assert await layer.receive("busy") == message(2)
        waiting = asyncio.create_task(layer.receive("busy"))
        await asyncio.sleep(0)
        while "work" in layer._offers:
            await layer.new_channel()
        # It listens where a receiver waits, and where one comes back.
        listened = office.addresses()
        assert "asgi:c:busy" in listened
        assert "asgi:c:work" not in listened
        await sender.send("busy", message(3))
        assert await waiting == message(3)
        await sender.send("work", message(4))
        assert await layer.receive("work") == message(4)

    run(test())


def test_a_flush_and_a_letter_that_nobody_can_read(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        one, two = ChannelLayer(), ChannelLayer()
        await two.send("work", message(1))
        await one.flush()
        await nothing_comes(two, "work")
        one._deliver(b"\xc1")
        await one.close()
        # It may be used again.
        await one.send("work", message(2))
        assert await one.receive("work") == message(2)

    run(test())
    assert "cannot be used" in caplog.text

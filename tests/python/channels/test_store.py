"""The store by itself: time is an argument."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from dwebsocket.channels.store import Message, Store


def store(capacity: int = 3, expiry: float = 60, group_expiry: float = 600) -> Store:
    return Store(lambda name: capacity, expiry, group_expiry, lambda groups: None)


def message(text: str, expires: float = 60) -> Message:
    return Message(expires, text.encode())


async def take(kept: Store, name: str, now: float = 0) -> str | None:
    found = kept.take(name, now)
    if isinstance(found, Message):
        return found.packed.decode()
    kept.leave(name, found, False)
    return None


def run(test: Any) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_messages_come_in_order_up_to_the_capacity():
    async def test() -> None:
        kept = store()
        for text in "abc":
            assert kept.put("one", message(text), 0) is False
        assert kept.put("one", message("d"), 0) is None
        assert [await take(kept, "one") for _ in range(4)] == ["a", "b", "c", None]
        assert len(kept) == 0

    run(test())


def test_a_group_has_each_member_once_and_skips_the_full_ones():
    async def test() -> None:
        kept = store(capacity=1)
        for name in ("one", "two", "one"):
            kept.add("group", name, 0)
        kept.put_all("group", message("a"), 0)
        assert await take(kept, "one") == "a"
        kept.put_all("group", message("b"), 0)
        assert kept.dropped == 1
        assert await take(kept, "one") == "b"
        assert await take(kept, "two") == "a"
        assert kept.discard("group", "one")
        assert not kept.discard("group", "one")
        assert kept.has("group")
        assert kept.discard("group", "two")
        assert not kept.has("group")

    run(test())


def test_an_expired_message_is_not_received_and_its_channel_leaves_its_groups():
    async def test() -> None:
        kept = store(expiry=1)
        kept.add("group", "one", 0)
        kept.put("one", message("old", 1), 0)
        kept.put("one", message("new", 3), 0)
        assert await take(kept, "one", 2) == "new"
        assert not kept.has("group")
        assert len(kept) == 0

    run(test())


def test_expired_messages_take_no_room():
    async def test() -> None:
        kept = store(capacity=1, expiry=100)
        kept.put("one", message("old", 1), 0)
        # The next look at all channels is far away.
        assert kept.put("one", message("new", 9), 2) is False
        assert await take(kept, "one", 3) == "new"

    run(test())


def test_a_channel_with_an_expired_message_gets_none_of_its_groups():
    async def test() -> None:
        kept = store(capacity=1, expiry=100)
        for name in ("one", "two"):
            kept.add("group", name, 0)
        kept.put("one", message("old", 1), 0)
        kept.put_all("group", message("new"), 2)
        assert await take(kept, "one", 3) is None
        assert await take(kept, "two", 3) == "new"
        assert kept.dropped == 0
        assert kept.discard("group", "two")
        assert not kept.has("group")
        assert len(kept) == 0

    run(test())


def test_expired_messages_of_channels_that_nobody_asks_for_are_removed():
    async def test() -> None:
        kept = store(expiry=1)
        kept.put("one", message("old", 1), 0)
        kept.put("two", message("new", 9), 5)
        assert len(kept) == 1

    run(test())


def test_a_member_leaves_when_it_was_not_added_again():
    async def test() -> None:
        kept = store(group_expiry=10)
        kept.add("group", "one", 0)
        kept.add("group", "two", 0)
        kept.add("group", "one", 8)
        kept.put_all("group", message("a"), 11)
        assert await take(kept, "one", 11) == "a"
        assert await take(kept, "two", 11) is None

    run(test())


def test_a_waiter_that_leaves_after_it_was_woken_wakes_the_next():
    async def test() -> None:
        kept = store()
        first, second = kept.take("one", 0), kept.take("one", 0)
        assert isinstance(first, asyncio.Future)
        assert isinstance(second, asyncio.Future)
        assert kept.waiting("one") == 2
        assert kept.put("one", message("a"), 0) is True
        assert (first.done(), second.done()) == (True, False)
        assert kept.leave("one", first, False) is False
        assert second.done()
        # The last one leaves the message to nobody.
        assert kept.leave("one", second, False) is True
        assert await take(kept, "one") == "a"

    run(test())


def test_waiters_of_another_loop_are_woken_by_one_call_for_all_of_them():
    async def test() -> None:
        kept = store()
        waiters = []
        for number in range(100):
            name = f"channel-{number}"
            kept.add("group", name, 0)
            waiter = kept.take(name, 0)
            assert isinstance(waiter, asyncio.Future)
            waiters.append(waiter)
        loop = asyncio.get_running_loop()
        calls = []
        original = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args: (  # type: ignore[method-assign,assignment]
            calls.append(1),
            original(*args),
        )
        send = lambda: kept.put_all("group", message("a"), 0)  # noqa: E731
        thread = threading.Thread(target=send)
        thread.start()
        await asyncio.gather(*waiters)
        del loop.call_soon_threadsafe
        thread.join()
        assert len(calls) == 1

    run(test())


def test_messages_are_granted_to_another_process():
    kept = store()
    for text in "abc":
        kept.put("one", message(text), 0)
    granted, more = kept.grant("one", 2, 0)
    assert ([one.packed for one in granted], more) == ([b"a", b"b"], True)
    assert kept.grant("one", 2, 0) == ([message("c")], False)
    assert kept.grant("one", 2, 0) == ([], False)
    kept.put("one", message("d", 1), 0)
    assert kept.grant("one", 2, 5) == ([], False)


def test_a_cleared_store_has_nothing_but_receivers():
    async def test() -> None:
        kept = store()
        kept.put("one", message("a"), 0)
        kept.add("group", "one", 0)
        waiter = kept.take("two", 0)
        kept.clear()
        assert not kept.has("group")
        assert await take(kept, "one") is None
        assert isinstance(waiter, asyncio.Future)
        kept.put("two", message("b"), 0)
        assert waiter.done()

    run(test())


def test_groups_that_lose_their_last_members_are_reported():
    async def test() -> None:
        reported: list[str] = []
        kept = Store(lambda name: 3, 1, 10, reported.extend)
        for group in "abcdef":
            kept.add(group, group, 0)
        kept.add("a", "other", 0)
        kept.discard("a", "a")
        assert reported == []
        kept.discard("a", "other")
        kept.put("b", message("old", 1), 0)
        assert await take(kept, "b", 2) is None
        assert reported == ["a", "b"]
        kept.put("c", message("old", 3), 2)
        # The look at all channels finds it.
        kept.put("other", message("new", 9), 4)
        assert reported == ["a", "b", "c"]
        kept.put("d", message("old", 5), 4)
        kept.grant("d", 1, 6)
        assert reported == ["a", "b", "c", "d"]
        kept.add("e", "e", 9)
        kept.put_all("f", message("late"), 11)
        assert reported == ["a", "b", "c", "d", "f"]
        kept.clear()
        assert reported == ["a", "b", "c", "d", "f", "e"]
        kept.clear()
        assert len(reported) == 6

    run(test())

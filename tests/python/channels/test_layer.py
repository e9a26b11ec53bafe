"""The channel layer in one process; the cases follow those of Channels' own layers."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import channel_layers, get_channel_layer
from django.test import override_settings

from dwebsocket.channels import ChannelLayer

Case = Callable[[ChannelLayer], Coroutine[Any, Any, None]]


def run(case: Case, **options: Any) -> None:
    """Run a case with a layer of its own."""

    async def main() -> None:
        layer = ChannelLayer(**{"capacity": 3, **options})
        try:
            await asyncio.wait_for(case(layer), 30)
        finally:
            await layer.flush()
            await layer.close()

    asyncio.run(main())


async def nothing_comes(receiving: Awaitable[Any]) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(receiving, 0.05)


async def types(layer: ChannelLayer, channel: str, count: int) -> list[str]:
    return [(await layer.receive(channel))["type"] for _ in range(count)]


def test_a_message_is_received():
    async def case(layer: ChannelLayer) -> None:
        sent = {"type": "test.message", "text": "Ahoy-hoy!", "bytes": b"\xff"}
        sent |= {"number": 7, "nested": {"list": [1, None, True, 1.5]}, "no": None}
        await layer.send("test-channel-1", sent)
        sent["text"] = "changed later"
        got = await layer.receive("test-channel-1")
        assert got == {**sent, "text": "Ahoy-hoy!"}

    run(case)


def test_a_full_channel_raises():
    async def case(layer: ChannelLayer) -> None:
        for _ in range(3):
            await layer.send("test-channel-1", {"type": "test.message"})
        with pytest.raises(ChannelFull):
            await layer.send("test-channel-1", {"type": "test.message"})

    run(case)


def test_capacities_by_pattern():
    async def case(layer: ChannelLayer) -> None:
        await layer.send("small.one", {"type": "a"})
        with pytest.raises(ChannelFull):
            await layer.send("small.one", {"type": "b"})
        for _ in range(5):
            await layer.send("large.one", {"type": "c"})

    run(case, channel_capacity={"small.*": 1, "large.*": 5})


def test_a_channel_of_this_process():
    async def case(layer: ChannelLayer) -> None:
        one, other = await layer.new_channel(), await layer.new_channel("prefix")
        assert one != other
        assert one.startswith("specific.")
        assert other.startswith("prefix.")
        assert layer.require_valid_channel_name(one)
        await layer.send(one, {"type": "test.message", "text": "Local only please"})
        assert (await layer.receive(one))["text"] == "Local only please"
        await nothing_comes(layer.receive(other))

    run(case)


def test_messages_come_in_order():
    async def case(layer: ChannelLayer) -> None:
        for number in "123":
            await layer.send("test-channel-3", {"type": f"message.{number}"})
        got = await types(layer, "test-channel-3", 3)
        assert got == ["message.1", "message.2", "message.3"]

    run(case)


def test_receivers_get_one_message_each():
    async def case(layer: ChannelLayer) -> None:
        receivers = [
            asyncio.create_task(layer.receive("test-channel-1")) for _ in range(3)
        ]
        await asyncio.sleep(0)
        for number in range(3):
            await layer.send("test-channel-1", {"type": "m", "number": number})
        got = [message["number"] for message in await asyncio.gather(*receivers)]
        assert sorted(got) == [0, 1, 2]

    run(case)


def test_a_group():
    async def case(layer: ChannelLayer) -> None:
        for number in "123":
            await layer.group_add("test-group", f"test-gr-chan-{number}")
        await layer.group_discard("test-group", "test-gr-chan-2")
        await layer.group_send("test-group", {"type": "message.1"})
        assert await types(layer, "test-gr-chan-1", 1) == ["message.1"]
        assert await types(layer, "test-gr-chan-3", 1) == ["message.1"]
        await nothing_comes(layer.receive("test-gr-chan-2"))
        # Neither a group nor a channel that is not there is an error.
        await layer.group_send("nobody", {"type": "message.2"})
        await layer.group_discard("nobody", "test-gr-chan-2")

    run(case)


def test_a_full_channel_does_not_stop_a_message_to_its_group():
    async def case(layer: ChannelLayer) -> None:
        await layer.group_add("test-group", "test-gr-chan-1")
        for _ in range(5):
            await layer.group_send("test-group", {"type": "message.1"})
        assert await types(layer, "test-gr-chan-1", 3) == ["message.1"] * 3
        await nothing_comes(layer.receive("test-gr-chan-1"))

    run(case)


def test_members_get_objects_of_their_own():
    async def case(layer: ChannelLayer) -> None:
        for name in ("one", "two"):
            await layer.group_add("test-group", name)
        await layer.group_send("test-group", {"type": "m", "list": []})
        (await layer.receive("one"))["list"].append("mine")
        assert (await layer.receive("two"))["list"] == []

    run(case)


def test_a_message_expires():
    async def case(layer: ChannelLayer) -> None:
        await layer.send("test-channel-1", {"type": "message.1"})
        await asyncio.sleep(0.15)
        await nothing_comes(layer.receive("test-channel-1"))

    run(case, expiry=0.1)


def test_a_message_expires_in_a_channel_that_is_not_read():
    async def case(layer: ChannelLayer) -> None:
        await layer.group_add("test-group", "test-channel-1")
        await layer.send("test-channel-1", {"type": "message.1"})
        await asyncio.sleep(0.15)
        await layer.send("test-channel-2", {"type": "message.2"})
        assert await types(layer, "test-channel-2", 1) == ["message.2"]
        # Its channel counts as dead.
        await layer.group_send("test-group", {"type": "message.3"})
        await nothing_comes(layer.receive("test-channel-1"))

    run(case, expiry=0.1)


def test_newer_messages_outlive_expired_ones():
    async def case(layer: ChannelLayer) -> None:
        for number in "123":
            await layer.send("test-channel-1", {"type": f"message.{number}"})
        assert await types(layer, "test-channel-1", 1) == ["message.1"]
        await asyncio.sleep(0.25)
        await layer.send("test-channel-1", {"type": "message.4"})
        assert await types(layer, "test-channel-1", 1) == ["message.4"]
        await nothing_comes(layer.receive("test-channel-1"))

    run(case, expiry=0.2)


def test_a_membership_expires():
    async def case(layer: ChannelLayer) -> None:
        await layer.group_add("test-group", "test-channel-1")
        await asyncio.sleep(0.15)
        await layer.group_add("test-group", "test-channel-2")
        await layer.group_send("test-group", {"type": "m"})
        assert await types(layer, "test-channel-2", 1) == ["m"]
        await nothing_comes(layer.receive("test-channel-1"))

    run(case, group_expiry=0.1)


def test_flush_forgets_everything():
    async def case(layer: ChannelLayer) -> None:
        await layer.group_add("test-group", "test-channel-1")
        await layer.send("test-channel-1", {"type": "m"})
        await layer.flush()
        await layer.group_send("test-group", {"type": "m"})
        await nothing_comes(layer.receive("test-channel-1"))

    run(case)


@pytest.mark.parametrize("name", ["¯\\_(ツ)_/¯", "chat", "test.case!now", "x" * 99])
def test_names_of_channels(name: str):
    async def case(layer: ChannelLayer) -> None:
        valid = "\\" not in name
        for call in (
            layer.send(name, {"type": "m"}),
            layer.group_add("group", name),
            layer.group_discard("group", name),
        ):
            if valid:
                await call
            else:
                with pytest.raises(TypeError):
                    await call
        if not valid:
            with pytest.raises(TypeError):
                await layer.receive(name)

    run(case)


@pytest.mark.parametrize("name", ["¯\\_(ツ)_/¯", "not!a.group", "x" * 100, "", 7])
def test_names_of_groups(name: Any):
    async def case(layer: ChannelLayer) -> None:
        for call in (
            layer.group_add(name, "channel"),
            layer.group_discard(name, "channel"),
            layer.group_send(name, {"type": "m"}),
        ):
            with pytest.raises(TypeError):
                await call

    run(case)


@pytest.mark.parametrize(
    "message",
    [
        "text",
        ["list"],
        None,
        {"type": object()},
        {"type": "m", "keys": {(1, 2): 3}},
        {"type": "m", "number": 2**70},
        {"type": "m", "text": "\ud800"},
        {"type": "m", "deep": functools.reduce(lambda n, _: [n], range(2_000), [])},
    ],
    ids=["str", "list", "none", "object", "key", "number", "surrogate", "deep"],
)
def test_messages_are_dicts_of_plain_types(message: Any):
    async def case(layer: ChannelLayer) -> None:
        with pytest.raises(TypeError, match="message"):
            await layer.send("channel", message)
        with pytest.raises(TypeError, match="message"):
            await layer.group_send("group", message)

    run(case)


def test_the_largest_numbers_and_keys_of_other_types():
    async def case(layer: ChannelLayer) -> None:
        sent = {"type": "m", "numbers": [2**64 - 1, -(2**63)], "keys": {1: 2, b"3": 4}}
        await layer.send("channel", sent)
        assert await layer.receive("channel") == sent

    run(case)


def test_receivers_that_are_cancelled_lose_nothing():
    async def case(layer: ChannelLayer) -> None:
        random.seed(4)
        got: list[int] = []
        count = 2_000

        async def receive() -> None:
            got.append((await layer.receive("busy"))["number"])

        async def send() -> None:
            for number in range(count):
                await layer.send("busy", {"type": "m", "number": number})
                if number % 3 == 0:
                    await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        tasks: set[asyncio.Task[None]] = set()
        while len(got) < count:
            tasks = {task for task in tasks if not task.done()}
            while len(tasks) < 4:
                tasks.add(asyncio.create_task(receive()))
            await asyncio.sleep(0)
            for task in random.sample(sorted(tasks, key=id), 2):
                # Also in the step in which a message has woken it.
                task.cancel()
            await asyncio.sleep(0)
        await sending
        for task in tasks:
            task.cancel()
        assert sorted(got) == list(range(count))

    run(case, capacity=5_000)


def test_other_threads_send_by_async_to_sync():
    async def case(layer: ChannelLayer) -> None:
        loop = asyncio.get_running_loop()
        await layer.group_add("group", "one")

        def send() -> None:
            async_to_sync(layer.send)("one", {"type": "a"})
            async_to_sync(layer.group_send)("group", {"type": "b"})

        waiting = asyncio.create_task(types(layer, "one", 2))
        await loop.run_in_executor(None, send)
        assert await waiting == ["a", "b"]

    run(case)


def test_channels_finds_it_by_the_settings():
    setting = {
        "default": {
            "BACKEND": "dwebsocket.channels.ChannelLayer",
            "CONFIG": {"capacity": 7, "expiry": 3, "prefix": "site"},
        }
    }
    with override_settings(CHANNEL_LAYERS=setting):
        layer = get_channel_layer()
        assert isinstance(layer, ChannelLayer)
        assert (layer.capacity, layer.expiry, layer.prefix) == (7, 3, "site")
        assert "groups" in layer.extensions
        assert "flush" in layer.extensions
    assert "default" not in channel_layers.backends

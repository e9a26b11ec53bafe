"""A process with a channel layer: calls come in by lines of JSON, outcomes go out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Any

import django
from channels.exceptions import ChannelFull
from django.conf import settings


async def _turns(call: Coroutine[Any, Any, None]) -> int:
    """Return how often the loop turns until a call is done."""
    calling = asyncio.create_task(call)
    turns = 0
    while not calling.done():
        await asyncio.sleep(0.01)
        turns += 1
    await calling
    return turns


async def _outcome(layer: Any, name: str, args: list[Any]) -> Any:
    if name == "try_receive":
        try:
            return await asyncio.wait_for(layer.receive(args[0]), args[1])
        except asyncio.TimeoutError:
            return None
    if name == "drain":
        channel, count = args
        return [(await layer.receive(channel))["number"] for _ in range(count)]
    if name == "send_many":
        target, count = args
        for number in range(count):
            await layer.send(target, {"type": "m", "number": number})
        return count
    if name == "turns_until_sent":
        return await _turns(layer.group_send(*args))
    if name == "cancel_receive":
        task = asyncio.create_task(layer.receive(args[0]))
        await asyncio.sleep(args[1])
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None
    try:
        return await getattr(layer, name)(*args)
    except ChannelFull:
        return "full"


async def main(broker: str, options: str) -> None:
    """Carry out the calls of the standard input, all at the same time."""
    settings.configure(DWEBSOCKET={"BROKER": broker}, DATABASES={})
    django.setup()
    from dwebsocket.channels import ChannelLayer

    layer = ChannelLayer(**json.loads(options))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    tasks = set()

    async def answer(number: int, name: str, args: list[Any]) -> None:
        outcome = await _outcome(layer, name, args)
        print(json.dumps([number, outcome]), flush=True)

    print(json.dumps([0, await layer.new_channel()]), flush=True)
    while line := await reader.readline():
        task = asyncio.create_task(answer(*json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await layer.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

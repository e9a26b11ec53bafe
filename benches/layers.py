"""What a message to a group of Django Channels costs: our layer, and that in memory.

Each layer has one group of many channels. A round sends one message, and then takes it
out of every channel. The time of the sending and that of both are printed, with the
ratios of the two layers in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from typing import Any

MESSAGE = {"type": "chat.message", "room": "lobby", "text": "hello " * 10, "id": 4711}


async def measure(layer: Any, channels: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of a send, and of a send with its receives; the medians."""
    names = [await layer.new_channel() for _ in range(channels)]
    for name in names:
        await layer.group_add("group", name)
    sending, both = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        await layer.group_send("group", MESSAGE)
        sending.append(time.perf_counter() - start)
        for name in names:
            assert await layer.receive(name) == MESSAGE
        both.append(time.perf_counter() - start)
    await layer.flush()
    return statistics.median(sending), statistics.median(both)


async def run(arguments: argparse.Namespace) -> None:
    """Measure both layers in turn, and print."""
    from channels.layers import InMemoryChannelLayer

    from dwebsocket.channels import ChannelLayer

    layers = {"memory": InMemoryChannelLayer(), "ours": ChannelLayer()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
    for _ in range(arguments.repeat):
        for name, layer in layers.items():
            found[name].append(
                await measure(layer, arguments.channels, arguments.rounds)
            )
    medians = {
        name: [statistics.median(part) for part in zip(*figures, strict=True)]
        for name, figures in found.items()
    }
    print(f"group_send to {arguments.channels:,} channels, milliseconds")
    print(f"{'layer':8} {'send':>9} {'send and receive':>18}")
    for name, (sending, both) in medians.items():
        print(f"{name:8} {sending * 1e3:9.3f} {both * 1e3:18.3f}")
    ratios = [a / b for a, b in zip(medians["memory"], medians["ours"], strict=True)]
    print(f"{'ratio':8} {ratios[0]:9.1f} {ratios[1]:18.1f}")


def measure_here(arguments: argparse.Namespace) -> None:
    """Measure in this interpreter, which has the packages."""
    import django
    from django.conf import settings

    settings.configure(DATABASES={})
    django.setup()
    asyncio.run(run(arguments))


def main() -> None:
    """Make an environment with both layers, and measure in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--python", default="python3.11")
    parser.add_argument("--here", action="store_true", help="in this interpreter")
    arguments = parser.parse_args()
    if arguments.here:
        measure_here(arguments)
        return
    import common

    packages = ["Django", "channels", "msgpack", "maturin"]
    interpreter = common.environment("bench-layers", arguments.python, packages)
    common.install_package(interpreter)
    words = [str(interpreter), __file__, "--here", *sys.argv[1:]]
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main()

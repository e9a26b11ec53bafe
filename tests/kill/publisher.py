"""Sends numbered messages to groups, from a process that serves nobody.

Argument: ``{"groups": [..], "rate": messages a second, "seed": n}``. A line on its
input ends it; then it waits until the broker has everything, and prints the last number
of each group.
"""

from __future__ import annotations

import collections
import json
import random
import sys
import threading
import time

from dwebsocket import _engine, hub, push

from . import site

#: Time for the broker to take what waits for it, in the end.
PATIENCE = 60.0
#: Time for it to tell where all histories end.
TOPS = 20.0


def publish(group: str, number: int) -> str:
    """Publish until the message is stored, or will be; return which."""
    while True:
        published = push.to_group(group, {"n": number})
        assert published is not None
        if published.broker in ("stored", "pending"):
            return published.broker
        assert published.broker == "unavailable", published.broker
        # Not taken at all: the queue is full.
        time.sleep(0.05)


def top(group: str, deadline: float) -> int:
    """Return the last offset of a group's history, 0 where there is none.

    A cluster may still be choosing who leads the history: asked again for a while.
    """
    while True:
        try:
            entries = hub.group(group).history(1)
        except hub.BrokerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return entries[-1][0] if entries else 0


def main() -> None:
    """Publish until told to stop."""
    options = json.loads(sys.argv[1])
    assert site.application
    chance = random.Random(options["seed"])
    last = dict.fromkeys(options["groups"], 0)
    fates: collections.Counter[str] = collections.Counter()
    stopped = threading.Event()
    threading.Thread(
        target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True
    ).start()
    due = time.monotonic()
    while not stopped.wait(max(0.0, due - time.monotonic())):
        due += 1 / options["rate"]
        group = chance.choice(options["groups"])
        fates[publish(group, last[group] + 1)] += 1
        last[group] += 1
    whole = _engine.hub_flush(PATIENCE)
    deadline = time.monotonic() + TOPS
    tops = {name: top(name, deadline) for name in last if last[name]}
    print(json.dumps({"last": last, "fates": fates, "whole": whole, "tops": tops}))


if __name__ == "__main__":
    main()

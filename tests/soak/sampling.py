"""Memory, descriptors and threads of a server, and whether they went on growing."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import psutil

from tests.kill.processes import Server

#: A figure may be so many times as high in the last third of a run as in the second.
GROWTH = {"rss": 1.10, "descriptors": 1.10, "threads": 1.10}
#: What is no growth, whatever the ratio.
NOISE = {"rss": 8 << 20, "descriptors": 20, "threads": 10}


class Sample(NamedTuple):
    """What one server had at one time.

    Args:
        when: Monotonic seconds.
        rss: Bytes of resident memory, of all its processes.
        descriptors: Open files.
        threads: Threads.
    """

    when: float
    rss: int
    descriptors: int
    threads: int


def sample(server: Server) -> Sample:
    """Return what a server has now."""
    parent = psutil.Process(server.pid)
    processes = [parent, *parent.children(recursive=True)]
    return Sample(
        time.monotonic(),
        sum(one.memory_info().rss for one in processes),
        sum(one.num_fds() for one in processes),
        sum(one.num_threads() for one in processes),
    )


def growth(samples: list[Sample]) -> dict[str, tuple[float, float]]:
    """Return the medians of the second and the last third of a run, by figure."""
    third = len(samples) // 3
    found = {}
    for name in GROWTH:
        figures = [float(getattr(one, name)) for one in samples]
        found[name] = (
            statistics.median(figures[third : 2 * third]),
            statistics.median(figures[2 * third :]),
        )
    return found


def faults(server: str, samples: list[Sample]) -> list[str]:
    """Say which figures went on growing."""
    return [
        f"{server}: {name} grew from {before:,.0f} to {after:,.0f}"
        for name, (before, after) in growth(samples).items()
        if after > before * GROWTH[name] and after - before > NOISE[name]
    ]

"""Memory is given back when most of many views have ended."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from dwebsocket.process import trim


@pytest.fixture
def trims(monkeypatch):
    counted = []
    monkeypatch.setattr(trim, "_trim", lambda: counted.append(None))
    return counted


def _end(crowd, running, until):
    for left in range(running - 1, until - 1, -1):
        crowd.left(left, left + 1)


def test_a_crowd_that_goes_is_noticed_once(trims):
    crowd = trim.Crowd()
    _end(crowd, 2000, 101)
    assert trims == []
    _end(crowd, 101, 0)
    assert len(trims) == 1


def test_a_second_crowd_is_noticed_too(trims):
    crowd = trim.Crowd()
    for _ in range(2):
        _end(crowd, 1000, 0)
    assert len(trims) == 2


def test_a_few_are_no_crowd(trims):
    crowd = trim.Crowd()
    _end(crowd, 999, 0)
    assert trims == []


def test_trimming_does_no_harm():
    trim._trim()


HOARDERS = """
import sys, threading
from pathlib import Path
from dwebsocket import _engine

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "engine":
    _engine.start()
# The first large block that is freed raises the thresholds of an allocator that adapts.
del (block := [bytearray(16 << 20)])[0]
before = held()
threads = 16
meet = threading.Barrier(threads)

def hoard():
    for _ in range(3):
        meet.wait(20)
        block = bytes([1]) * (8 << 20)
        meet.wait(20)
        del block
    meet.wait(20)

running = [threading.Thread(target=hoard) for _ in range(threads)]
for thread in running:
    thread.start()
for thread in running:
    thread.join(30)
print((held() - before) >> 20)
"""


TUNABLES = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864"
THRESHOLDS = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc alone")
@pytest.mark.parametrize(
    ("engine", "environment", "bound"),
    [
        ("engine", {}, True),
        ("none", {}, False),
        # A user's own values stay.
        ("engine", {"GLIBC_TUNABLES": TUNABLES}, False),
        ("engine", THRESHOLDS, False),
    ],
)
def test_threads_that_had_large_messages_keep_none_of_it(engine, environment, bound):
    done = subprocess.run(
        [sys.executable, "-c", HOARDERS, engine],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    kept = int(done.stdout)
    assert (kept < 32) is bound, f"{kept} MiB"

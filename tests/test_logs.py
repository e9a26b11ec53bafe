"""Ctrl-C in a finalizer is no fault of a program; every other trace is one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .logs import without_interrupts

PROGRAM = """
class Late:
    def __del__(self):
        {what}

Late()
print("goes on", flush=True)
{then}
"""


def run(what: str, then: str = "") -> str:
    program = PROGRAM.format(what=what, then=then)
    words = [sys.executable, "-u", "-c", program]
    result = subprocess.run(words, capture_output=True, text=True, timeout=20)
    return result.stderr + result.stdout


def test_an_interrupted_finalizer_is_left_out():
    text = run("raise KeyboardInterrupt")
    assert "Traceback" in text
    assert without_interrupts(text) == "goes on\n"


@pytest.mark.parametrize(
    ("what", "then"),
    [("1 / 0", ""), ("pass", "1 / 0"), ("pass", "raise KeyboardInterrupt")],
)
def test_other_traces_stay(what: str, then: str):
    text = run(what, then)
    assert "Traceback" in text
    assert without_interrupts(text) == text

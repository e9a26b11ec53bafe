"""Stops a process for a while, as a long pause of its machine does."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from .client import eventually


def _is_stopped(thread: Path) -> bool:
    # The state comes after the name of the program, proc(5); a thread may have ended.
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return True


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process during the block."""
    threads = Path(f"/proc/{pid}/task")
    os.kill(pid, signal.SIGSTOP)
    try:
        # Threads stop one after the other, and could answer until then.
        eventually(
            lambda: all(map(_is_stopped, threads.iterdir())), what=f"{pid} is stopped"
        )
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

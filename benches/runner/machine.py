"""The settings of the machine: which processors a server and its clients have."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import common

# The processors of the clients beside a server on one core; more would stand idle.
CLIENTS = 3


@dataclass(frozen=True)
class Setting:
    """The processors of the server, of the clients, and of programs that keep busy.

    None: no pinning, the program may run on all processors that this one may use.
    ``threads`` is the number of threads of a load program that echoes.
    """

    name: str
    title: str
    server: str | None
    clients: str | None
    spinners: tuple[int, ...] = ()
    threads: int = 1

    @property
    def cpus(self) -> str:
        """The setting as the other benchmarks' ``--cpus`` has it."""
        if self.server is None or self.clients is None:
            return "none"
        return f"{self.server}:{self.clients}"


NAMES = ("one", "all", "busy")


def settings(names: Sequence[str], processors: Sequence[int]) -> list[Setting]:
    """Return the settings by their names, on a machine with these processors.

    - "one": the server on the first processor, the clients on the next ones.
    - "all": the server and the clients share all processors.
    - "busy": the same beside programs that never wait, each on a processor of its own:
      one on two processors, else on half of them.
    """
    first, *others = map(str, processors)
    threads = max(1, min(CLIENTS, len(others)))
    busy = tuple(processors[(len(processors) + 1) // 2 :]) or tuple(processors)
    server_alone = first, ",".join(others[:CLIENTS]) or first
    made = {
        "one": Setting("one", "server on one core, load on another", *server_alone),
        "all": Setting("all", "server and load share all cores", None, None),
        "busy": Setting("busy", "as before, beside a busy program", None, None, busy),
    }
    return [replace(made[name], threads=threads) for name in names]


def processors() -> list[int]:
    """Return the processors that this program may use."""
    return sorted(os.sched_getaffinity(0))


def description() -> dict[str, str]:
    """Return the machine and the versions of the tools, by their names."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit(),
        "processor": processor(),
        "processors": str(len(processors())),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "rustc": told("rustc", "--version"),
    }
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists() and not quota.read_text().startswith("max"):
        found["cpu.max"] = quota.read_text().strip()
    if common.profile():
        found["cargo"] = " ".join(f"{k}={v}" for k, v in common.profile().items())
    return found


def processor() -> str:
    """Return the name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """Return the commit of this tree, and whether something has changed since."""
    git = ["git", "-C", str(common.ROOT)]
    changed = told(*git, "status", "--porcelain", "--untracked-files=no")
    found = told(*git, "rev-parse", "--short", "HEAD") or "unknown"
    return found + (" and changes" if changed else "")


def told(*words: str) -> str:
    """Return what a program prints; empty if it cannot."""
    try:
        run = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()


@contextlib.contextmanager
def prepared(setting: Setting) -> Iterator[tuple[int, ...]]:
    """Run the busy programs of a setting until the block ends; return their numbers."""
    spinners: list[subprocess.Popen[bytes]] = []
    try:
        for processor in setting.spinners:
            # It ends with its parent: a killed benchmark must leave no spinner behind.
            program = (
                f"import os\nwhile os.getppid() == {os.getpid()}:\n"
                "    for _ in range(1_000_000): pass"
            )
            spinner = subprocess.Popen([sys.executable, "-c", program])
            spinners.append(spinner)
            os.sched_setaffinity(spinner.pid, {processor})
        yield tuple(spinner.pid for spinner in spinners)
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()

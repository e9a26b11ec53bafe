"""How many threads there are for views.

What the system allows is not for WebSockets alone: the server must be able to start a
thread for a plain request, and other processes share the same limit.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import _engine, cooperation

__all__ = ("UNLIMITED", "Pool", "pools", "views")

UNLIMITED = 1 << 30

#: Threads that are left to others: a quarter, but not more than this.
_SPARED = 256

#: Seconds for which a number is good; the part of the time that finding it may take.
_AGE, _SHARE = 1.0, 0.01

#: Either lifts RLIMIT_NPROC: CAP_SYS_ADMIN and CAP_SYS_RESOURCE (capabilities(7)).
_CAPABILITIES = 1 << 21 | 1 << 24

_CGROUPS = Path("/sys/fs/cgroup")


class Pool(NamedTuple):
    """Threads that several share.

    Args:
        most: How many there may be.
        used: How many there are, those of this process's views included.
    """

    most: int
    used: int


def _read(path: str | Path) -> str:
    """Return what a file of the kernel's says, "" if it is not there."""
    try:
        return Path(path).read_text()
    except (OSError, ValueError):
        return ""


def _number(path: str | Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _status(process: str) -> dict[str, str]:
    """Return what ``/proc/<pid>/status`` says; nothing of a process that has ended."""
    lines = _read(f"/proc/{process}/status").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def _is_limited() -> bool:
    """Return whether the kernel holds this process to RLIMIT_NPROC."""
    if _read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]:
        # Privileges in a container's own user namespace do not count.
        return True
    if os.getuid() == 0:
        return False
    return not int(_status("self").get("CapEff", "0"), 16) & _CAPABILITIES


def _threads_of_user() -> int:
    """Return how many threads the user of this process has."""
    user, count = str(os.getuid()), 0
    try:
        names = os.listdir("/proc")
    except OSError:
        # No descriptor is left: this handshake is refused for that.
        return 0
    # Not by the directories' owners: those of a server that has changed its user
    # (gunicorn --user) belong to root.
    for process in filter(str.isdecimal, names):
        status = _status(process)
        if status.get("Uid", "").split()[:1] == [user]:
            count += int(status.get("Threads", "1"))
    return count


def _cgroups() -> Iterator[Path]:
    """Yield the directories that may limit the threads of this process.

    In a container, the path that the kernel tells may be that of the host; what it
    leads to is then mounted further up.
    """
    for line in _read("/proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            roots = [_CGROUPS, _CGROUPS / "unified"]
        elif "pids" in controllers.split(","):
            roots = [_CGROUPS / "pids", _CGROUPS / controllers]
        else:
            continue
        names = [name for name in path.split("/") if name not in ("", "..")]
        for root in roots:
            for depth in range(len(names), -1, -1):
                yield root.joinpath(*names[:depth])


def pools() -> Iterator[Pool]:
    """Yield the limits on threads that hold for this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and _is_limited():
        yield Pool(soft, _threads_of_user())
    seen = set()
    for directory in _cgroups():
        if directory in seen:
            continue
        seen.add(directory)
        most, used = (
            _number(directory / "pids.max"),
            _number(directory / "pids.current"),
        )
        if most is not None and used is not None:
            yield Pool(most, used)


def _threads() -> int:
    """Return how many views may have a thread."""
    most = UNLIMITED
    for pool in pools():
        others = max(pool.used - _engine.connection_count(), 0)
        spared = min(pool.most // 4, _SPARED)
        most = min(most, max(pool.most - spared - others, 0))
    return most


#: The process, until when its number is good, and the number.
_known: tuple[int, float, int] = (0, 0.0, 0)


def views() -> int:
    """Return how many views this process has threads for.

    As many as there may be threads (RLIMIT_NPROC, the cgroup's pids.max) beside those
    of others, less a quarter (256 at most).
    """
    global _known
    if cooperation.is_patched():
        # Views are greenlets.
        return UNLIMITED
    process, until, threads = _known
    began = time.monotonic()
    if process != os.getpid() or began >= until:
        threads = _threads()
        now = time.monotonic()
        _known = (os.getpid(), now + max(_AGE, (now - began) / _SHARE), threads)
    return threads

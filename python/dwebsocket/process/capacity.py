"""The most connections that a process may have, and the threads for their views.

WebSockets cannot use all that the system allows: the server must be able to start a
thread for a plain request, and other processes share the same limit.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dwebsocket import _engine
from dwebsocket.conf import settings

from .gevent import is_patched

__all__ = (
    "UNLIMITED",
    "Pool",
    "connections",
    "count_spare",
    "count_tasks",
    "pools",
    "views",
)

UNLIMITED = 1 << 30

#: A quarter of the threads is left for other uses, but not more than this number.
_SPARED = 256

#: Seconds for which a count of threads stays valid, at the least; and the share of the
#: time that counting may take, at the most.
_AGE, _SHARE = 1.0, 0.01

#: Each of these two lifts RLIMIT_NPROC: CAP_SYS_ADMIN, CAP_SYS_RESOURCE
#: (capabilities(7)).
_CAPABILITIES = 1 << 21 | 1 << 24

_CGROUPS = Path("/sys/fs/cgroup")


class Pool(NamedTuple):
    """A limit on threads that several processes share.

    Args:
        most: The most threads that the limit allows.
        used: The threads that exist, including those of this process's views.
    """

    most: int
    used: int


def _read(path: str | Path) -> str:
    """Return the text of one of the kernel's files; "" if the file is not there."""
    try:
        return Path(path).read_text()
    except (OSError, ValueError):
        return ""


def _number(path: str | Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _status(process: str) -> dict[str, str]:
    """Return the fields of ``/proc/<pid>/status``; {} for a process that has ended."""
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
        # The process has no descriptor left: that is why this handshake is refused.
        return 0
    # The owner of a directory is not always the user of the process: the directories of
    # a server that has changed its user (gunicorn --user) belong to root.
    for process in filter(str.isdecimal, names):
        status = _status(process)
        if status.get("Uid", "").split()[:1] == [user]:
            count += int(status.get("Threads", "1"))
    return count


def _cgroups() -> Iterator[Path]:
    """Yield the directories that may limit the threads of this process.

    In a container, the kernel may report the path on the host; the directory that it
    means is then mounted further up.
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


#: Returns how many threads of this process wait for a view.
_spare: Callable[[], int] = int


def count_spare(spare: Callable[[], int]) -> None:
    """Have threads that wait for a view count as free; set by the runner of threads."""
    global _spare
    _spare = spare


#: Each returns how many connections have no thread: views that are tasks, handlers.
_threadless: list[Callable[[], int]] = []


def count_tasks(tasks: Callable[[], int]) -> None:
    """Have connections without a thread count as such; called by their runners."""
    _threadless.append(tasks)


def _threads() -> int:
    """Return how many views may have a thread."""
    most = UNLIMITED
    for pool in pools():
        threads = _engine.connection_count() - sum(count() for count in _threadless)
        threads = max(threads, 0)
        others = max(pool.used - threads - _spare(), 0)
        spared = min(pool.most // 4, _SPARED)
        most = min(most, max(pool.most - spared - others, 0))
    return most


#: The process, the time until which its number of threads is valid, and the number.
_known: tuple[int, float, int] = (0, 0.0, 0)


def views() -> int:
    """Return how many views this process may have threads for.

    The number is the limit on threads (RLIMIT_NPROC, the cgroup's pids.max), less a
    quarter of it (256 at most), less the threads that are not of views.
    """
    global _known
    process, until, threads = _known
    began = time.monotonic()
    if process != os.getpid() or began >= until:
        if is_patched():
            # Views are greenlets.
            return UNLIMITED
        threads = _threads()
        now = time.monotonic()
        _known = (os.getpid(), now + max(_AGE, (now - began) / _SHARE), threads)
    return threads


def connections(threaded: bool = True) -> int:
    """Return how many connections this process may have.

    The default is three quarters of the files that the process may open, so that the
    server can still accept plain requests, and at most the threads for views.

    Args:
        threaded: Whether the view of the next connection needs a thread.
    """
    if settings.MAX_CONNECTIONS is not None:
        return min(int(settings.MAX_CONNECTIONS), 1 << 62)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max(soft * 3 // 4, 1) if soft != resource.RLIM_INFINITY else 1 << 30
    return min(files, views() if threaded else UNLIMITED)

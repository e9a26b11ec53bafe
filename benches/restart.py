"""How many clients come back at once when a server restarts?

5,000 clients are connected to a gunicorn with two workers, which is told to restart:
by SIGHUP; by SIGTERM, after SIGUSR2 has started another gunicorn on the same socket;
and by ``--max-requests``, which ends one worker of the two. The clients come back as
pages do, after a random pause. Printed are the most attempts to come back within any
100 ms, once with SHUTDOWN_SPREAD = 0 and once with the default, and their ratio; and
how many were refused, found no server, or were cut off without a Close frame.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import common

sys.path.insert(0, str(common.ROOT))

from tests.servers.crowd import Crowd, most_at_once

#: The setting's default, in seconds.
SPREAD = 6.0
#: What a run may take, in seconds.
LIMIT = 180.0


class Run(NamedTuple):
    """What one restart has done to the clients."""

    most: int
    entries: int
    seconds: float
    refused: int
    unreached: int
    lost: int


def children(pid: int | None) -> set[int]:
    """Return the ids of a process's children; of none, if the process has gone."""
    try:
        return set(
            map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        )
    except OSError:
        return set()


class Site:
    """The project under gunicorn, with two workers."""

    def __init__(self, options: Any, port: int, spread: float, *more: str) -> None:
        """Start it, and wait until it listens."""
        project = common.HERE / "project"
        # A module (-m gunicorn) cannot be started again by SIGUSR2.
        words = [
            str(options.interpreter.parent / "gunicorn"),
            "wsgi",
            "--bind",
            f"127.0.0.1:{port}",
        ]
        words += ["--backlog", "4096", "--log-level", "warning"]
        words += ["--worker-class", options.worker, "--threads", "20"]
        words += ["--workers", "2", *more]
        self.port = port
        self.process = subprocess.Popen(
            common.pinned(words, options.cpus, 0),
            cwd=project,
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "settings",
                "PYTHONPATH": str(project),
                "BENCH_SPREAD": str(spread),
            },
        )
        #: The second master, after SIGUSR2.
        self.heir: int | None = None
        common.wait_for(lambda: common.listens(port) and len(self.workers()) == 2, 60)

    def workers(self) -> set[int]:
        """Return the ids of its worker processes."""
        return children(self.process.pid)

    def upgrade(self) -> None:
        """Start a second master on the same socket, and end the first one."""
        old = self.workers()
        self.process.send_signal(signal.SIGUSR2)
        common.wait_for(lambda: bool(self.workers() - old), 60)
        [self.heir] = self.workers() - old
        common.wait_for(lambda: len(children(self.heir)) == 2, 60)
        self.process.send_signal(signal.SIGTERM)

    def request(self) -> None:
        """Have it answer a hundred plain requests."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            for _ in range(100):
                client.request("GET", "/hello")
                client.getresponse().read()
            client.close()

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.heir is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.heir, signal.SIGTERM)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextlib.contextmanager
def restarted(options: Any, how: str, spread: float, port: int) -> Iterator[Any]:
    """Yield a function that restarts the server."""
    more = []
    if how == "max-requests":
        # Otherwise both workers, which have served as much, end at the same time.
        more = ["--max-requests", str(2 * options.connections)]
        more += ["--max-requests-jitter", str(options.connections)]
    site = Site(options, port, spread, *more)

    def restart() -> None:
        if how == "HUP":
            site.process.send_signal(signal.SIGHUP)
        elif how == "TERM":
            site.upgrade()
        else:
            old = site.workers()
            while old <= site.workers():
                site.request()

    try:
        yield restart
    finally:
        site.stop()


def measure(options: Any, how: str, spread: float) -> Run:
    """Connect all clients, restart the server, and wait until all are back."""
    port = common.free_port()
    with (
        restarted(options, how, spread, port) as restart,
        Crowd(("127.0.0.1", port), options.connections, first=options.pause) as crowd,
    ):
        crowd.all_open(options.connections, LIMIT)
        count, tried = len(crowd.entries), len(crowd.attempts)
        begin = time.monotonic()
        restart()
        # The clients of one of two workers, or all of them.
        share = 0.3 if how == "max-requests" else 1
        crowd.all_open(count + int(share * options.connections), LIMIT)
        back = crowd.entries[count:]
        return Run(
            most_at_once(crowd.attempts[tried:]),
            len(back),
            back[-1] - begin,
            sum(crowd.refused.values()),
            crowd.unreached,
            crowd.lost,
        )


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--worker", default="gthread", help="gunicorn's worker class")
    parser.add_argument("--how", default="HUP,TERM,max-requests")
    parser.add_argument(
        "--pause",
        type=float,
        default=1.0,
        help="the longest pause before a client comes back, in seconds",
    )
    parser.add_argument(
        "--interpreter", type=Path, help="a Python that has the package and gunicorn"
    )
    options = parser.parse_args()
    common.raise_descriptor_limit()
    if options.interpreter is None:
        options.interpreter = common.new_environment(options.python)
    rows = []
    for how in options.how.split(","):
        without, spread = (measure(options, how, s) for s in (0.0, SPREAD))
        for seconds, run in ((0.0, without), (SPREAD, spread)):
            rows.append([how, seconds, *run[:2], f"{run.seconds:.1f}", *run[3:]])
        rows.append([how, "ratio", f"{without.most / spread.most:.1f}", *[""] * 5])
    common.table(
        [
            "restart",
            "spread",
            "most in 100 ms",
            "came back",
            "until the last, s",
            "refused",
            "no server",
            "cut off",
        ],
        rows,
    )


if __name__ == "__main__":
    main()

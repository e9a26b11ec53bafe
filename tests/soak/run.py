"""One soak, from the start to the verdict."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.kill.groups import groups
from tests.kill.processes import SERVERS, Helper, Worker

from .failover import Pair
from .sampling import Sample, faults, growth, sample

#: Seconds for everybody to be there, in the beginning and in the end.
PATIENCE = 120.0
#: Lines of a server's log that are told.
TOLD = 40
#: Messages that a group keeps: enough for who is cut off, and soon full, so that what
#: grows for longer is no history.
HISTORY = "300"


class Plan(NamedTuple):
    """What to run.

    Args:
        seconds: For how long.
        clients: Clients that resume and count.
        rate: Messages a second to their groups.
        servers: Names in :data:`tests.kill.processes.SERVERS`.
        every: Seconds between samples.
        calm: Seconds between two things that befall the broker, least and most.
        seed: Of everything random.
    """

    seconds: float
    clients: int = 200
    rate: float = 40.0
    servers: tuple[str, ...] = tuple(SERVERS)
    every: float = 2.0
    calm: tuple[float, float] = (10.0, 20.0)
    seed: int = 1


class Soak:
    """The processes of a soak.

    Args:
        plan: What to run.
        directory: For logs and the brokers' data.
    """

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self.chance = random.Random(plan.seed)
        self.brokers = Pair(directory)
        self.servers = [
            Worker(
                kind,
                self.brokers.url,
                directory,
                kind,
                "tests.soak.site",
                KILL_HISTORY=HISTORY,
            )
            for kind in plan.servers
        ]
        self.helpers: list[Helper] = []
        self.samples: dict[str, list[Sample]] = {kind: [] for kind in plan.servers}
        self._begun = 0.0

    def start(self) -> None:
        """Start everything; return once the clients and the noise are there."""
        self.brokers.start()
        for server in self.servers:
            server.start()
        ports = [server.port for server in self.servers]
        clients, seed = self.plan.clients, self.plan.seed
        crowd = {"ports": ports, "clients": list(range(clients)), "all": clients}
        self.crowd = self._helper("crowd", "tests.kill.crowd", {**crowd, "seed": seed})
        self.crowd.hear(PATIENCE)
        self.noises = [
            self._helper(
                f"noise-{server.name}",
                "tests.soak.noise",
                {"port": server.port, "seed": seed + n},
            )
            for n, server in enumerate(self.servers)
        ]
        for noise in self.noises:
            noise.hear(PATIENCE)
        options = {"groups": groups(clients), "rate": self.plan.rate, "seed": seed}
        self.publisher = self._helper("publisher", "tests.kill.publisher", options)

    def _helper(self, name: str, module: str, options: dict[str, Any]) -> Helper:
        url = self.brokers.url
        env = {"KILL_BROKER": url, "KILL_HISTORY": HISTORY}
        helper = Helper(name, module, options, self.directory, **env)
        self.helpers.append(helper)
        return helper

    def kill(self) -> None:
        """Leave nothing running."""
        for one in (*self.helpers, *self.servers, self.brokers):
            one.kill()

    def go_on(self) -> None:
        """Sample, and disturb the broker, for as long as the plan says."""
        self._begun = time.monotonic()
        troubles = self._troubles()
        news = trouble = self._begun
        while (now := time.monotonic()) < self._begun + self.plan.seconds:
            for server in self.servers:
                self.samples[server.name].append(sample(server))
            if now >= trouble:
                next(troubles)
                trouble = time.monotonic() + self.chance.uniform(*self.plan.calm)
            if now >= news:
                news += 60.0
                self._print()
            time.sleep(self.plan.every)

    def _troubles(self) -> Iterator[None]:
        """Do the next thing to the broker, and to clients, each time."""
        while True:
            yield self.brokers.fail_over()
            self.crowd.tell(cut=max(1, self.plan.clients // 20))
            yield self.brokers.restart(self.chance.uniform(0.1, 3.0))

    def _print(self) -> None:
        minutes = (time.monotonic() - self._begun) / 60
        print(
            f"{minutes:5.1f} min: failovers {self.brokers.failovers}, "
            f"restarts {self.brokers.restarts}; {self._sum(self.crowd)}"
        )
        for server, noise in zip(self.servers, self.noises, strict=True):
            now = self.samples[server.name][-1]
            print(
                f"  {server.name:9} RSS {now.rss / 2**20:6.1f} MiB, "
                f"descriptors {now.descriptors}, threads {now.threads}; "
                f"{self._sum(noise)}",
                flush=True,
            )

    def _sum(self, helper: Helper) -> str:
        told = helper.ask(PATIENCE, status=True)
        told.pop("told", None)
        return ", ".join(f"{name} {figure:,}" for name, figure in told.items())

    def finish(self) -> list[str]:
        """End it; return what is wrong."""
        found = []
        self._print()
        for noise in self.noises:
            told = noise.ask(PATIENCE, finish=True)
            found += [f"{noise.name}: {fault}" for fault in told["told"]]
        told = self.publisher.ask(PATIENCE, stop=True)
        print(f"published {sum(told['last'].values()):,}: {told['fates']}")
        if not told["whole"]:
            found.append("the publisher could not get rid of everything")
        self.crowd.tell(finish=told["last"], timeout=PATIENCE)
        found += self.crowd.hear(2 * PATIENCE)["told"]
        for server in self.servers:
            lines = server.text().splitlines()
            if bad := [line for line in lines if "Traceback" in line]:
                found.append(f"{server.name} has {len(bad)} tracebacks in its log")
                print(*lines[-TOLD:], sep="\n")
            found += faults(server.name, self.samples[server.name])
        self._print_growth()
        return found

    def _print_growth(self) -> None:
        print("medians of the second and the last third:")
        for name, samples in self.samples.items():
            for figure, (before, after) in growth(samples).items():
                ratio = after / before if before else 0.0
                medians = f"{before:14,.0f} {after:14,.0f} {ratio:6.3f}"
                print(f"  {name:9} {figure:12} {medians}")


def run(plan: Plan, directory: Path) -> list[str]:
    """Run the soak; return what is wrong, in words. Nothing is: the list is empty."""
    print(plan, flush=True)
    with contextlib.ExitStack() as stack:
        this = Soak(plan, directory)
        stack.callback(this.kill)
        this.start()
        this.go_on()
        return this.finish()

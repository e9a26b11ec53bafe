"""One run of the kill test, from the start to the verdict."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .brokers import BROKERS
from .groups import groups
from .processes import Helper, Server, Worker

#: Clients of one process.
CROWD = 1_000
#: For all clients to be there, in the beginning and in the end.
PATIENCE = 90.0
#: Seconds between lines on how it is going.
NEWS = 30.0


class Plan(NamedTuple):
    """What to run.

    Args:
        broker: One of :data:`.brokers.BROKERS`.
        clients: How many.
        processes: How many servers they are spread over.
        seconds: How long things are killed.
        rate: Messages a second.
        seed: Of everything random; what the machine does with it is another matter.
        calm: Seconds between one thing's return and the next kill, least and most.
        down: Seconds that something stays dead, least and most.
    """

    broker: str
    clients: int
    processes: int
    seconds: float
    rate: float = 40.0
    seed: int = 1
    calm: tuple[float, float] = (2.0, 9.0)
    down: tuple[float, float] = (0.1, 4.0)


class Run:
    """The processes of a run.

    Args:
        plan: What to run.
        directory: For logs and the broker's data.
    """

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self.chance = random.Random(plan.seed)
        data = directory / "data"
        data.mkdir()
        self.url, self.brokers = BROKERS[plan.broker](data)
        self.workers: list[Server] = [
            Worker(f"worker-{n}", self.url, directory) for n in range(plan.processes)
        ]
        self.crowds: list[Helper] = []
        self._next_news = 0.0

    def start(self) -> None:
        """Start everything but the publisher; wait until the clients are there."""
        for server in (*self.brokers, *self.workers):
            server.start()
        count = -(-self.plan.clients // CROWD)
        for n in range(count):
            options = {
                "ports": [worker.port for worker in self.workers],
                "clients": list(range(n, self.plan.clients, count)),
                "all": self.plan.clients,
                "seed": self.plan.seed + n,
            }
            self.crowds.append(
                Helper(f"crowd-{n}", "tests.kill.crowd", options, self.directory)
            )
        for crowd in self.crowds:
            crowd.hear(PATIENCE)

    def publisher(self) -> Helper:
        """Start what publishes."""
        options = {
            "groups": groups(self.plan.clients),
            "rate": self.plan.rate,
            "seed": self.plan.seed,
        }
        return Helper(
            "publisher",
            "tests.kill.publisher",
            options,
            self.directory,
            KILL_BROKER=self.url,
        )

    def disturb(self) -> None:
        """Kill this and that, as long as the plan says."""
        end = time.monotonic() + self.plan.seconds
        for victims in self._victims():
            self._wait(self.plan.calm)
            if time.monotonic() >= end:
                return
            self._cut()
            # Both may be dead at once, but they do not die and return together.
            for victim in victims:
                victim.kill()
                self._wait((0.0, 0.5))
            self._wait(self.plan.down)
            self.chance.shuffle(victims)
            for victim in victims:
                victim.start()
            self._news()

    def _victims(self) -> Iterator[list[Server]]:
        """Yield the next to be killed: at first one of each kind, then any."""
        kinds = ["broker", "worker", "both"]
        for kind in kinds:
            yield self._some(kind)
        while True:
            yield self._some(self.chance.choice(kinds))

    def _some(self, kind: str) -> list[Server]:
        broker = self.chance.choice(self.brokers)
        worker = self.chance.choice(self.workers)
        return {
            "broker": [broker],
            "worker": [worker],
            "both": [broker, worker],
        }[kind]

    def _cut(self) -> None:
        for crowd in self.crowds:
            crowd.tell(cut=max(1, self.plan.clients // 100 // len(self.crowds)))

    def _wait(self, limits: tuple[float, float]) -> None:
        time.sleep(self.chance.uniform(*limits))

    def _news(self) -> None:
        if time.monotonic() < self._next_news:
            return
        self._next_news = time.monotonic() + NEWS
        self._print("now", [crowd.ask(PATIENCE, status=True) for crowd in self.crowds])

    def _print(self, when: str, answers: list[dict[str, Any]]) -> None:
        names = ("back", "received", "recovered", "returns", "faults")
        sums = [f"{name} {sum(answer[name] for answer in answers):,}" for name in names]
        brokers = sum(broker.kills for broker in self.brokers)
        workers = sum(worker.kills for worker in self.workers)
        print(
            f"{when}: brokers killed {brokers}, workers {workers}, clients:",
            *sums,
            flush=True,
        )

    def finish(self, publisher: Helper) -> list[str]:
        """Stop publishing; return what is wrong."""
        told = publisher.ask(PATIENCE, stop=True)
        last = told["last"]
        print(f"published {sum(last.values()):,}: {told['fates']}", flush=True)
        faults = []
        if not told["whole"]:
            faults.append("the publisher could not get rid of everything")
        for group, top in told["tops"].items():
            if top != last[group]:
                faults.append(f"{group} ends at offset {top}, not {last[group]}")
        for crowd in self.crowds:
            crowd.tell(finish=last, timeout=PATIENCE)
        answers = [crowd.hear(2 * PATIENCE) for crowd in self.crowds]
        self._print("in the end", answers)
        faults += [fault for answer in answers for fault in answer["told"]]
        for worker in self.workers:
            if "Traceback" in worker.text():
                faults.append(f"{worker.name} complains:\n{worker.text()[-4_000:]}")
        return faults


def run(plan: Plan, directory: Path) -> list[str]:
    """Run the test; return what is wrong, in words. Nothing is: the list is empty."""
    print(plan, flush=True)
    with contextlib.ExitStack() as stack:
        this = Run(plan, directory)
        stack.callback(lambda: [one.kill() for one in (*this.brokers, *this.workers)])
        stack.callback(lambda: [crowd.kill() for crowd in this.crowds])
        started = time.monotonic()
        this.start()
        print(f"{plan.clients:,} clients in {time.monotonic() - started:.1f} s")
        publisher = this.publisher()
        stack.callback(publisher.kill)
        this.disturb()
        faults = this.finish(publisher)
    return faults

"""Runs the scenarios, round by round over the peers, and saves every result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import common
from peers import Peer, PeerError, Running

from runner import machine
from runner.machine import Setting
from runner.results import Figures, Results, Run
from runner.scenarios import GROWING, START, Bench, Leaf, Task, possible

# A measurement that failed so often is not tried again.
PATIENCE = 2


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        peers: The peers, by name.
        chosen: Whether the command line names the peers.
        tasks: The parts of the scenarios.
        settings: The settings of the machine, for each group of scenarios.
        rounds: The repetitions, for each group of scenarios.
        seconds: How long each figure is measured.
        warmup: How long the load runs before that.
        idle: The number of connections whose memory is measured.
    """

    peers: dict[str, Peer]
    chosen: bool
    tasks: tuple[Task, ...]
    settings: dict[str, list[Setting]]
    rounds: dict[str, int]
    seconds: float
    warmup: float
    idle: int

    def blocks(self) -> Iterator[Block]:
        """Return the blocks in order: round by round, peer by peer."""
        for number in range(max(self.rounds.values())):
            for name in machine.NAMES:
                for group, rounds in self.rounds.items():
                    if number < rounds:
                        yield from self.turn(number, name, group)

    def turn(self, number: int, name: str, group: str) -> Iterator[Block]:
        """Return the blocks of all peers in one round, setting and group."""
        for setting in self.settings[group]:
            if setting.name != name:
                continue
            for peer in self.peers.values():
                tasks = tuple(self.of(peer, group))
                if tasks:
                    yield Block(number, setting, peer, tasks)

    def of(self, peer: Peer, group: str) -> Iterator[Task]:
        """Return the tasks of a group that a peer can do."""
        if group == "growth" and not self.chosen and peer.name not in GROWING:
            return
        for task in self.tasks:
            if task.group != group or task.needs not in peer.scenarios:
                continue
            if possible(task, peer.threads):
                yield task

    def bench(self, setting: Setting) -> Bench:
        """Return the conditions of a setting."""
        return Bench(setting, self.seconds, self.warmup, self.idle)

    def estimate(self) -> float:
        """Return about how many seconds it takes, without building."""
        return sum(
            START + sum(task.seconds(self.bench(block.setting)) for task in block.tasks)
            for block in self.blocks()
        )


@dataclass(frozen=True)
class Block:
    """Measurements of one server in a row."""

    round: int
    setting: Setting
    peer: Peer
    tasks: tuple[Task, ...]

    def run(
        self, leaf: Leaf, figures: Figures | None = None, failure: str | None = None
    ) -> Run:
        """Return the result of one measurement."""
        scenario, at = leaf
        where = self.setting.name, self.peer.name
        return Run(scenario, at, *where, self.round, figures or {}, failure)


@dataclass
class Conductor:
    """Runs a plan.

    Attributes:
        plan: What to measure.
        results: Where the figures go.
        path: The file that is written after each block.
        tell: Prints the progress.
    """

    plan: Plan
    results: Results
    path: Path
    tell: Callable[[str], None]
    failures: Counter[tuple[Task, str, str]] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Build what is measured; a peer that cannot be built is noted and left out."""
        common.cargo("load", "load")
        for name, peer in self.plan.peers.items():
            self.tell(f"preparing {name}")
            try:
                peer.prepare()
            except (PeerError, OSError, SystemExit) as error:
                self.results.unavailable[name] = str(error)
                self.tell(f"  FAILED: {error}")

    def run(self) -> None:
        """Measure everything."""
        expected, began = self.plan.estimate(), time.monotonic()
        for block in self.plan.blocks():
            if block.peer.name in self.results.unavailable:
                continue
            passed = time.monotonic() - began
            self.tell(
                f"[{minutes(passed)} of about {minutes(expected)}] "
                f"round {block.round + 1}, {block.setting.name}: {block.peer.name}"
            )
            with machine.prepared(block.setting) as spinners:
                bench = replace(self.plan.bench(block.setting), spinners=spinners)
                self.measure(block, bench)
            self.results.save(self.path)

    def measure(self, block: Block, bench: Bench) -> None:
        """Measure a peer; a task that fails gets a fresh server for the next one."""
        tasks = list(self.hopeful(block))
        while tasks:
            try:
                with block.peer.serve(block.setting.server) as running:
                    self.results.versions[block.peer.name] = running.versions
                    while tasks:
                        task = tasks.pop(0)
                        if not self.attempt(block, task, bench, running):
                            if task.easier:
                                tasks.insert(0, task.easier)
                            break
            except (PeerError, OSError, SystemExit) as error:
                for task in tasks:
                    self.fail(block, task, str(error), task.leaves)
                return

    def hopeful(self, block: Block) -> Iterator[Task]:
        """Return the tasks that have not failed too often, or what is easier."""
        for task in block.tasks:
            hope: Task | None = task
            while hope and self.failed(block, hope) >= PATIENCE:
                hope = hope.easier
            if hope:
                yield hope

    def failed(self, block: Block, task: Task) -> int:
        """Return how often a task has failed with this peer and setting."""
        return self.failures[task, block.setting.name, block.peer.name]

    def attempt(self, block: Block, task: Task, bench: Bench, running: Running) -> bool:
        """Measure one task; return whether every message was right."""
        try:
            measured = task.measure(bench, running)
        except (common.Failed, OSError) as error:
            self.fail(block, task, str(error), task.hardest)
            return False
        for leaf in task.leaves:
            self.note(block.run(leaf, figures=measured[leaf]))
        return True

    def fail(
        self, block: Block, task: Task, reason: str, leaves: Iterable[Leaf]
    ) -> None:
        """Note that a task failed, and which measurements with it."""
        self.failures[task, block.setting.name, block.peer.name] += 1
        told = brief(reason)
        for leaf in leaves:
            self.note(block.run(leaf, failure=told))

    def note(self, run: Run) -> None:
        """Add a run to the results, and print it."""
        self.results.add(run)
        name = run.scenario + (f", {run.at:,}" if run.at else "")
        told = f"FAILED: {run.failure}"
        if run.failure is None:
            told = ", ".join(
                f"{value:,.4g} {figure}"
                for figure, value in run.figures.items()
                if figure in ("rate", "cpu_us", "p50_us", "over_us", "kib")
            )
        self.tell(f"  {name}: {told}")


def minutes(seconds: float) -> str:
    """Return a time as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def brief(reason: str) -> str:
    """Return a reason in one line: the first one of it, and the end of a long log."""
    first, *more = reason.strip().splitlines() or ["no reason given"]
    last = f" ... {more[-1]}" if more else ""
    return first[:300] + last[:300]

"""benches/runner/conduct.py: the order of a run, and servers that fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import common
import pytest
from peers import Running
from runner import conduct, machine
from runner.conduct import Conductor, Plan
from runner.results import Results
from runner.scenarios import Bench, Measured, Task


@dataclass(frozen=True)
class Peer:
    """A peer without a server."""

    name: str
    title: str = "Peer"
    group: str = "python"
    scenarios: frozenset[str] = frozenset({"echo", "idle"})
    threads: bool = False
    trouble: str = ""
    started: list[str] = field(default_factory=list, compare=False)

    def prepare(self) -> None:
        if self.trouble == "build":
            raise OSError("no compiler")

    @contextlib.contextmanager
    def serve(self, cpus: str | None) -> Iterator[Any]:
        if self.trouble == "start":
            raise SystemExit("the server does not start")
        self.started.append(self.name)
        yield Running("127.0.0.1:1", [1], {"peer": self.name})


def task(name: str, group: str = "echo", fails: str = "") -> Task:
    def measure(bench: Bench, running: Any) -> Measured:
        if running.versions["peer"] == fails:
            raise common.Failed("the server lost 1, doubled 0 messages")
        return {(name, 0): {"cpu_us": 1.0}}

    return Task(name, group, group, ((name, 0),), 1, 1, measure)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(common, "cargo", lambda *_: "load")

    def run(peers: list[Peer], *tasks: Task, rounds: int = 2) -> Results:
        groups = dict.fromkeys(one.group for one in tasks)
        known: dict[str, Any] = {peer.name: peer for peer in peers}
        plan = Plan(
            peers=known,
            chosen=True,
            tasks=tasks,
            settings={group: machine.settings(["one"], [0, 1]) for group in groups},
            rounds={group: rounds if group == "echo" else 1 for group in groups},
            seconds=1,
            warmup=0,
            idle=10,
        )
        names = {peer.name: (peer.title, peer.group) for peer in peers}
        found = Results("make bench", True, {}, {"one": "one core"}, names)
        conductor = Conductor(plan, found, tmp_path / "results.json", lambda _: None)
        conductor.prepare()
        conductor.run()
        return found

    return run


def test_every_round_measures_every_peer_in_turn(run: Any) -> None:
    started: list[str] = []
    peers = [Peer("a", started=started), Peer("b", started=started)]
    run(peers, task("echo-32"), task("idle", "idle"))
    # The second group has one round.
    assert started == ["a", "b", "a", "b", "a", "b"]


def test_a_failed_task_is_noted_and_the_next_one_gets_a_fresh_server(run: Any) -> None:
    peer = Peer("a")
    found = run([peer], task("echo-32", fails="a"), task("echo-64k"), rounds=1)
    failure = found.failure(("echo-32", 0, "one", "a"))
    assert failure == "the server lost 1, doubled 0 messages"
    assert found.spread("cpu_us", ("echo-64k", 0, "one", "a")) is not None
    assert len(peer.started) == 2


def test_what_failed_twice_is_not_tried_again(run: Any) -> None:
    found = run([Peer("a")], task("echo-32", fails="a"), rounds=5)
    assert len(found.runs["echo-32", 0, "one", "a"]) == conduct.PATIENCE


def test_the_easier_part_of_a_failed_task_gets_a_fresh_server(run: Any) -> None:
    hard = replace(
        task("hard", "echo", fails="a"),
        leaves=(("easy", 0), ("hard", 0)),
        easier=task("easy", "echo"),
    )
    peer = Peer("a")
    found = run([peer], hard, task("echo-64k", "echo"), rounds=3)
    assert len(found.runs["easy", 0, "one", "a"]) == 3
    assert found.failure(("easy", 0, "one", "a")) is None
    assert len(found.runs["hard", 0, "one", "a"]) == conduct.PATIENCE
    assert found.failure(("hard", 0, "one", "a")) is not None
    assert len(peer.started) == 2 * conduct.PATIENCE + 1


def test_a_server_that_does_not_start_does_not_stop_the_others(run: Any) -> None:
    found = run([Peer("a", trouble="start"), Peer("b")], task("echo-32"), rounds=1)
    assert found.failure(("echo-32", 0, "one", "a")) == "the server does not start"
    assert found.spread("cpu_us", ("echo-32", 0, "one", "b")) is not None


def test_a_peer_that_cannot_be_built_is_left_out(run: Any) -> None:
    found = run([Peer("a", trouble="build"), Peer("b")], task("echo-32"))
    assert found.unavailable == {"a": "no compiler"}
    assert found.measured("echo-32", 0, "one") == ["b"]


def test_a_peer_is_asked_only_for_what_it_serves(run: Any) -> None:
    peer = Peer("a", scenarios=frozenset({"idle"}))
    found = run([peer], task("echo-32"), task("idle", "idle"))
    assert [key[0] for key in found.runs] == ["idle"]


def test_a_long_reason_has_its_first_and_its_last_line() -> None:
    log = "a: the server ends at once: Traceback\n  in main\nImportError: no uvloop"
    assert conduct.brief(log) == (
        "a: the server ends at once: Traceback ... ImportError: no uvloop"
    )
    assert conduct.brief("") == "no reason given"

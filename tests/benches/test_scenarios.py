"""benches/runner/scenarios.py: the figures, and what a machine allows."""

from __future__ import annotations

import os
import resource
from typing import Any

import common
import pytest
from peers import Running
from runner import machine, scenarios
from runner.scenarios import SIZES, TASKS, Bench, possible


def test_figures_have_the_reports_names_and_units() -> None:
    printed = {"messages": 9, "rate": 3.0, "server_cpu_us": 2.0, "lost": 0}
    found = scenarios.figures(printed | {"latency_p50_ms": 1.5})
    assert found == {"rate": 3.0, "cpu_us": 2.0, "p50_us": 1500.0}


def test_a_measurement_without_messages_fails() -> None:
    with pytest.raises(common.Failed, match="no message"):
        scenarios.figures({"messages": 0, "rate": 0.0})


def test_growth_with_few_connections_has_no_share_of_them() -> None:
    leaves = [
        leaf for task in TASKS if task.name == "growth-echo" for leaf in task.leaves
    ]
    assert {at for name, at in leaves if name == "growth-echo"} == {*SIZES}
    assert {at for name, at in leaves if name == "growth-few"} == {
        100, 1000, 5000, 15000,
    }  # fmt: skip


def test_too_few_descriptors_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    (big,) = [
        task
        for task in TASKS
        if task.name == "growth-echo" and task.connections == max(SIZES)
    ]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert not possible(big, threads=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 20_000))
    assert possible(big, threads=False)


def test_a_depth_that_fails_leaves_the_easier_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def load(cpus: str, command: str, pids: object, options: Any, limit: float) -> Any:
        asked.append(options["in_flight"])
        if options["in_flight"] != "1":
            raise common.Failed("the server lost 5 messages")
        return {"phases": [{"messages": 1, "rate": 2.0}]}

    monkeypatch.setattr(common, "load_once", load)
    (task,) = [task for task in TASKS if task.name == "fanout-5000"]
    (setting,) = machine.settings(["one"], [0, 1])
    running = Running("127.0.0.1:1", [os.getpid()], {})
    bench = Bench(setting, 1, 0, 10)
    with pytest.raises(common.Failed, match="lost 5"):
        task.measure(bench, running)
    assert [*task.hardest] == [("fanout-16", 5000)]
    assert task.easier is not None
    assert task.easier.measure(bench, running)["fanout-1", 5000]["rate"] == 2.0
    assert asked == ["1,16", "1"]

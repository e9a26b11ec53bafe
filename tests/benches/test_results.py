"""benches/runner/results.py: medians, spreads, ratios, and runs that failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner import results
from runner.results import Results, Run, Spread

OURS = ("echo-32", 0, "one", "ours")
OTHER = ("echo-32", 0, "one", "picows")


def some(**costs: list[float | str]) -> Results:
    """Results of "echo-32": for each peer its CPU times, or why the run failed."""
    made = Results(
        command="make bench",
        whole=True,
        machine={"kernel": "Linux"},
        settings={"one": "one core"},
        peers={name: (name.title(), "python") for name in costs},
    )
    for peer, values in costs.items():
        for number, value in enumerate(values):
            run = Run("echo-32", 0, "one", peer, number)
            if isinstance(value, str):
                run.failure = value
            else:
                run.figures = {"cpu_us": value}
            made.add(run)
    return made


def test_the_spread_has_the_median_and_both_ends() -> None:
    assert Spread.of([9, 1, 4]) == Spread(4, 1, 9)
    assert Spread.of([2, 4]) == Spread(3, 2, 4)
    assert some(ours=[9, 1, 4]).spread("cpu_us", OURS) == Spread(4, 1, 9)


def test_a_figure_that_was_not_measured_has_no_spread() -> None:
    found = some(ours=[1])
    assert found.spread("rate", OURS) is None
    assert found.spread("cpu_us", OTHER) is None


def test_one_failed_repetition_takes_the_figures_away() -> None:
    found = some(ours=[1, "lost 1 message", 1])
    assert found.failure(OURS) == "lost 1 message"
    assert found.spread("cpu_us", OURS) is None


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # The medians' ratio would be 4: the machine was slower in the second round.
    found = some(ours=[10, 100, 10], picows=[20, 200, 40])
    assert found.ratio("cpu_us", OTHER, "ours") == pytest.approx(2)


def test_a_ratio_needs_rounds_that_both_have() -> None:
    found = some(ours=[10, 20], picows=[30])
    assert found.ratio("cpu_us", OTHER, "ours") == pytest.approx(3)
    assert some(picows=[30]).ratio("cpu_us", OTHER, "ours") is None
    assert some(ours=["broken"], picows=[30]).ratio("cpu_us", OTHER, "ours") is None


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = some(ours=[1, "lost"], picows=[2.5])
    found.versions["ours"] = {"Django": "5.2"}
    found.save(tmp_path / "new" / "results.json")
    assert results.load(tmp_path / "new" / "results.json") == found


def test_later_results_replace_the_same_measurement() -> None:
    first, again = some(ours=[1, "lost"], picows=[2]), some(ours=[3])
    first.unavailable = {"ours": "no compiler"}
    again.versions["ours"] = {"Django": "5.2"}
    found = results.merged([first, again])
    assert found.spread("cpu_us", OURS) == Spread(3, 3, 3)
    assert found.spread("cpu_us", OTHER) == Spread(2, 2, 2)
    assert found.unavailable == {}


def test_peers_come_in_the_order_of_the_report() -> None:
    found = some(ours=[1], picows=[2])
    found.runs = dict(reversed(found.runs.items()))
    assert found.measured("echo-32", 0, "one") == ["ours", "picows"]

"""The results of the benchmarks: the figures, and what they were measured on."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Figures = dict[str, float]
# A scenario, the number of its connections where it has several, a setting of the
# machine, a peer.
Key = tuple[str, int, str, str]


@dataclass
class Run:
    """One measurement.

    Attributes:
        scenario: Its name.
        at: The number of connections, in a scenario that has several numbers; else 0.
        setting: The name of the machine's setting.
        peer: The name of the peer.
        round: The number of the round.
        figures: What was measured; empty if the run failed.
        failure: Why the run failed; None: every message was right.
    """

    scenario: str
    at: int
    setting: str
    peer: str
    round: int
    figures: Figures = field(default_factory=dict)
    failure: str | None = None

    @property
    def key(self) -> Key:
        """The runs with the same key repeat one measurement."""
        return self.scenario, self.at, self.setting, self.peer


@dataclass(frozen=True)
class Spread:
    """The median of some repetitions, the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value."""
        row = sorted(values)
        return cls(statistics.median(row), row[0], row[-1])


@dataclass
class Results:
    """All runs, and what the report says about them.

    Attributes:
        command: The command that measured.
        whole: Whether it left nothing out.
        machine: The machine and the versions of common tools, by their names.
        settings: The titles of the machine's settings, by name.
        peers: The titles and groups of the peers, by name, in the order of the report.
        versions: The versions that each peer ran with.
        unavailable: Why a peer could not be built.
        runs: The measurements.
    """

    command: str
    whole: bool
    machine: dict[str, str]
    settings: dict[str, str]
    peers: dict[str, tuple[str, str]]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    runs: dict[Key, list[Run]] = field(default_factory=dict)

    def add(self, run: Run) -> None:
        """Add a run to the repetitions of its measurement."""
        self.runs.setdefault(run.key, []).append(run)

    def failure(self, key: Key) -> str | None:
        """Return why one of the repetitions failed; None: none failed."""
        for run in self.runs.get(key, []):
            if run.failure is not None:
                return run.failure
        return None

    def spread(self, figure: str, key: Key) -> Spread | None:
        """Return a figure's spread; None: not measured, or one repetition failed."""
        runs = self.runs.get(key, [])
        values = [run.figures[figure] for run in runs if figure in run.figures]
        if not values or self.failure(key) is not None:
            return None
        return Spread.of(values)

    def ratio(self, figure: str, key: Key, other: str) -> float | None:
        """Return the median of the rounds' ratios of a peer's figure to another's.

        What slows the machine down for a while slows both runs of a round.
        """
        mine, theirs = (
            self.by_round(figure, key),
            self.by_round(figure, (*key[:3], other)),
        )
        ratios = [
            mine[number] / theirs[number] for number in mine if theirs.get(number)
        ]
        return statistics.median(ratios) if ratios else None

    def by_round(self, figure: str, key: Key) -> dict[int, float]:
        """Return a figure by the round; empty if one repetition failed."""
        if self.spread(figure, key) is None:
            return {}
        runs = self.runs[key]
        return {run.round: run.figures[figure] for run in runs if figure in run.figures}

    def sizes(self, scenario: str) -> list[int]:
        """Return the numbers of connections that a scenario was measured with."""
        return sorted({key[1] for key in self.runs if key[0] == scenario})

    def measured(self, scenario: str, at: int, setting: str) -> list[str]:
        """Return the peers that a measurement has runs of, in the report's order."""
        found = {key[3] for key in self.runs if key[:3] == (scenario, at, setting)}
        return [peer for peer in self.peers if peer in found]

    def save(self, path: Path) -> None:
        """Write the results as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        runs = [asdict(run) for some in self.runs.values() for run in some]
        content = {name: value for name, value in vars(self).items() if name != "runs"}
        part.write_text(json.dumps(content | {"runs": runs}, indent=1) + "\n")
        part.replace(path)


def load(path: Path) -> Results:
    """Read the results that `Results.save` wrote."""
    found: dict[str, Any] = json.loads(path.read_text())
    found["peers"] = {name: tuple(peer) for name, peer in found["peers"].items()}
    runs = found.pop("runs")
    results = Results(**found)
    for run in runs:
        results.add(Run(**run))
    return results


def merged(some: Sequence[Results]) -> Results:
    """Join results; where two measured the same, the later ones replace the earlier.

    A round's ratios need runs of one time: a peer's figures come from one of them.
    """
    first, *others = some
    for more in others:
        first.runs |= more.runs
        first.peers |= more.peers
        first.settings |= more.settings
        first.versions |= more.versions
        first.unavailable = {
            peer: reason
            for peer, reason in (first.unavailable | more.unavailable).items()
            if peer not in first.versions
        }
        if more.command not in first.command:
            first.command += f", then {more.command}"
    return first

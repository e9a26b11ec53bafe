"""This package beside other WebSocket servers: speed, memory, growth.

The program tells how long it will take. Every message is checked; a run that lost,
doubled or changed one is reported as FAILED, and the others go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import machine
from runner.scenarios import GROUPS, TASK_NAMES

# The settings of the machine that a group of scenarios is measured in, and its rounds:
# in the default run, and in the thorough one.
ALL = machine.NAMES
SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "echo": (ALL, ALL),
    "handshake": (ALL, ALL),
    "fanout": (("all",), ALL),
    "idle": (("one",), ("one",)),
    "growth": (("one",), ("one",)),
}
ROUNDS = {
    "echo": (3, 5),
    "handshake": (3, 5),
    "fanout": (1, 5),
    "idle": (1, 3),
    "growth": (1, 3),
}
SECONDS = (0.7, 2.0)
WARMUP = (0.3, 0.5)
IDLE = (1000, 5000)


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        peers: The names of the peers; empty: all.
        scenarios: The names of the scenarios or of their groups; empty: all.
        cores: The names of the settings; empty: each group's own.
        rounds: The repetitions; None: each group's own.
        seconds: How long each figure is measured; None: the default.
        full: Whether the run is the thorough one.
        report: Files with results, to make the report of without measuring.
        out: Where the report and the plots go; None: see the help.
    """

    peers: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    cores: tuple[str, ...] = ()
    rounds: int | None = None
    seconds: float | None = None
    full: bool = False
    report: tuple[Path, ...] = ()
    out: Path | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not (self.peers or self.scenarios or self.cores)

    def rounds_of(self, group: str) -> int:
        """Return the repetitions of a group of scenarios."""
        return self.rounds or ROUNDS[group][self.full]

    def cores_of(self, group: str) -> list[str]:
        """Return the names of the settings that a group is measured in.

        A group that is not measured in any of the chosen ones by default is measured in
        all of these: the user has asked for both.
        """
        default = SETTINGS[group][self.full]
        if not self.cores:
            return list(default)
        return [name for name in self.cores if name in default] or list(self.cores)

    def command(self) -> str:
        """Return the command that has this effect."""
        words = ["make bench"]
        for name in ("peers", "scenarios", "cores"):
            if getattr(self, name):
                words.append(f"{name.upper()}={','.join(getattr(self, name))}")
        words += ["FULL=1"] if self.full else []
        words += [f"ROUNDS={self.rounds}"] if self.rounds else []
        words += [f"SECONDS={self.seconds:g}"] if self.seconds else []
        return " ".join(words)


def chosen(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names in a text, separated by commas or spaces, in the known order.

    Raises:
        ValueError: A name is not known.
    """
    order = list(dict.fromkeys(known))
    names = text.replace(",", " ").split()
    for name in names:
        if name not in order:
            raise ValueError(f"{name!r} is none of {', '.join(order)}")
    return tuple(name for name in order if name in names)


def parse(words: Sequence[str] | None, peers: Iterable[str]) -> Options:
    """Read the command line; ``peers`` are the names of all peers."""
    known = list(peers)
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            f"peers: {', '.join(known)}\n"
            f"scenarios: {', '.join(GROUPS)} (groups); {', '.join(TASK_NAMES)}\n"
            "cores: one (server and load on a core each), all (both on all cores),\n"
            "  busy (the same beside programs that keep half of the cores busy)\n"
            "\n"
            "A whole run writes docs/benchmarks.md and docs/images/bench/, and its\n"
            "results into target/bench/results.json; a part of it writes all into\n"
            "target/bench/, its results into part.json."
        ),
    )
    add = parser.add_argument
    add("--peers", default="", metavar="NAMES", help="the servers, separated by commas")
    add("--scenarios", default="", metavar="NAMES", help="the scenarios or groups")
    add("--cores", default="", metavar="NAMES", help="the settings of the machine")
    add("--rounds", type=int, help="repetitions of everything")
    add("--seconds", type=float, help="how long each figure is measured")
    add("--full", action="store_true", help="the thorough run, of some hours")
    add(
        "--report",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="make the report of results anew; of several files, later ones replace",
    )
    add("--out", type=Path, help="the directory of the report and the plots")
    found = parser.parse_args(words)
    try:
        return Options(
            peers=chosen(found.peers, known),
            scenarios=chosen(found.scenarios, [*GROUPS, *TASK_NAMES]),
            cores=chosen(found.cores, machine.NAMES),
            rounds=found.rounds,
            seconds=found.seconds,
            full=found.full,
            report=tuple(found.report),
            out=found.out,
        )
    except ValueError as error:
        parser.error(str(error))

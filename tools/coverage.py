"""Prints the coverage of each room of the package, and checks the floors.

    python tools/coverage.py            prints the rooms; exits with 1 below a floor
    python tools/coverage.py --floors   sets the floors in pyproject.toml anew

Reads the data that pytest has measured (``make test-python COVERAGE=1``). A room is a
folder of the package, or "." for its top-level modules.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("python", "dwebsocket")
PYPROJECT = ROOT / "pyproject.toml"
TABLE = re.compile(r"^\[tool\.dwebsocket\.coverage\]\n(?:[^\[\n].*\n)*", re.MULTILINE)


class Lines(NamedTuple):
    """Lines of code: their number, and the number of those that have run."""

    total: int
    run: int

    @property
    def percent(self) -> int:
        """The percentage that has run, rounded down: 100 means all lines."""
        return 100 * self.run // self.total if self.total else 100


def room(file: Path) -> str:
    """Return the room of a source file."""
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "."


def measured(config: str) -> dict[str, Lines]:
    """Return the lines of each room, in alphabetical order."""
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", "-"]
    done = subprocess.run(
        [*command, f"--rcfile={config}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return rooms(json.loads(done.stdout))


def rooms(report: dict) -> dict[str, Lines]:
    """Return the lines of each room in a report of coverage.py."""
    found: defaultdict[str, list[Lines]] = defaultdict(list)
    for name, file in report["files"].items():
        summary = file["summary"]
        found[room(Path(name))].append(
            Lines(summary["num_statements"], summary["covered_lines"])
        )
    return {
        name: Lines(*map(sum, zip(*files, strict=True)))
        for name, files in sorted(found.items())
    }


def faults(found: dict[str, Lines], floors: dict[str, int]) -> list[str]:
    """Return the faults: a room below its floor or without one, or a missing room."""
    names = sorted({*found, *floors})
    wrong = []
    for name in names:
        if name not in floors:
            wrong.append(f"{name} has no floor")
        elif name not in found:
            wrong.append(f"{name} has a floor, and is not there")
        elif found[name].percent < floors[name]:
            wrong.append(f"{name} is below its floor of {floors[name]} %")
    return wrong


def with_floors(text: str, found: dict[str, Lines]) -> str:
    """Return the text of pyproject.toml with floors as measured."""
    lines = [f"{json.dumps(name)} = {lines.percent}" for name, lines in found.items()]
    table = "\n".join(["[tool.dwebsocket.coverage]", *lines, ""])
    return TABLE.sub(lambda _: table, text)


def main() -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floors", action="store_true", help="set the floors")
    parser.add_argument("--config", default="pyproject.toml", help="of coverage.py")
    arguments = parser.parse_args()
    found = measured(arguments.config)
    text = PYPROJECT.read_text()
    floors = tomllib.loads(text)["tool"]["dwebsocket"]["coverage"]
    print("room          lines  not run  percent  floor")
    for name, lines in found.items():
        print(
            f"{name:12} {lines.total:6} {lines.total - lines.run:8}"
            f" {lines.percent:8} {floors.get(name, '-'):>6}"
        )
    if arguments.floors:
        PYPROJECT.write_text(with_floors(text, found))
        return 0
    wrong = faults(found, floors)
    if wrong:
        print(*wrong, "(make coverage-floors sets the floors anew)", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

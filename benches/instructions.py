"""Counts the instructions of fixed work, and compares them with committed figures.

    python benches/instructions.py            exits with 1 if a count has changed
    python benches/instructions.py --update   writes the figures anew

Unlike times, counts hardly depend on the machine: two runs differ by less than 0.2 %,
so 3 % more is a change of the code. 3 % less fails, too: the figures must stay true, or
they would hide the next growth.

Why a program and a script instead of a crate for that: gungraun, the maintained one,
needs a runner of exactly its own version, which each machine would have to compile
first. It would save the few lines here that call callgrind and read its total.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = TARGET / "release" / "examples" / "instructions"
# What callgrind writes, for callgrind_annotate.
DETAILS = TARGET / "instructions"
FIGURES = ROOT / "benches" / "instructions" / "figures.json"
TOLERANCE = 0.03
# The longest time of a part, in seconds. A part takes one or two.
LIMIT = 120
# The string functions of glibc copy large blocks by one instruction, which valgrind
# counts once for each byte. With these limits they never use it.
TUNABLES = (
    f"glibc.cpu.x86_rep_movsb_threshold={1 << 40}"
    f":glibc.cpu.x86_rep_stosb_threshold={1 << 40}"
)
# Variables by which an environment changes what the compiler makes.
FLAGS = ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS")

Counts = dict[str, int]
Tools = dict[str, str]


class Figures(NamedTuple):
    """Counts, and the tools that they depend on."""

    tools: Tools
    counts: Counts

    @classmethod
    def read(cls, text: str) -> Figures:
        """Read the text of the file of figures."""
        content = json.loads(text)
        return cls(content["made with"], content["instructions"])

    def write(self) -> str:
        """Return the text of the file of figures."""
        content = {"made with": self.tools, "instructions": self.counts}
        return json.dumps(content, indent=2) + "\n"


def table(committed: Counts, found: Counts) -> list[str]:
    """Return the lines of a table of all parts."""
    names = list(dict.fromkeys([*found, *committed]))
    width = max(map(len, names), default=0)
    lines = [f"{'part':{width}} {'committed':>12} {'now':>12}   ratio"]
    for name in names:
        old, new = committed.get(name), found.get(name)
        ratio = f"{new / old:7.4f}" if old and new is not None else "      -"
        texts = ("-" if one is None else f"{one:,}" for one in (old, new))
        lines.append(f"{name:{width}} {next(texts):>12} {next(texts):>12} {ratio}")
    return lines


def faults(committed: Counts, found: Counts) -> list[str]:
    """Return the faults: parts without a figure or a count, and changed counts."""
    wrong = []
    for name in dict.fromkeys([*found, *committed]):
        if name not in committed:
            wrong.append(f"{name} has no figure: commit one")
        elif name not in found:
            wrong.append(f"{name} has a figure, and is not there: commit the figures")
        elif found[name] == 0:
            wrong.append(
                f"{name}: nothing was counted; does the function still exist that"
                " benches/instructions/main.rs names for it?"
            )
        elif found[name] > committed[name] * (1 + TOLERANCE):
            wrong.append(f"{name} is slower: {percent(committed[name], found[name])}")
        elif found[name] < committed[name] * (1 - TOLERANCE):
            wrong.append(
                f"{name} is faster: commit the new figures"
                f" ({percent(committed[name], found[name])})"
            )
    return wrong


def percent(old: int, new: int) -> str:
    """Return the change of a count, as text."""
    return f"{100 * (new - old) / old if old else 100:+.1f} % instructions"


def other_tools(committed: Tools, here: Tools) -> list[str]:
    """Return a line for each tool that is not the one that the figures depend on."""
    return [
        f"The figures were made with {committed.get(name, 'another')} ({name}),"
        f" this is {here.get(name, 'unknown')}."
        for name in sorted({*committed, *here})
        if committed.get(name) != here.get(name)
    ]


def verdict(committed: Figures, found: Figures) -> tuple[list[str], bool]:
    """Return what to tell about a comparison, and whether it has failed.

    Counts that changed fail with other tools, too. Otherwise the guard would be off
    from the day on which CI gets a newer compiler, and nobody would notice.
    """
    wrong = faults(committed.counts, found.counts)
    others = other_tools(committed.tools, found.tools)
    lines = [*wrong, *others]
    if wrong and others:
        lines.append(
            "Other tools count otherwise. Check out the commit before your change:"
            " if it fails as well, run `make instructions UPDATE=1` there, and commit"
            " the figures by themselves; then measure your change."
        )
    elif wrong:
        lines.append(
            "`make instructions UPDATE=1` sets the figures; say in the commit why."
            f" `callgrind_annotate {DETAILS}/PART` shows which functions count."
        )
    return lines, bool(wrong)


def tools() -> Tools:
    """Return the tools and the traits of this machine that change the counts."""
    flags = Path("/proc/cpuinfo").read_text().split()
    # Libraries choose among code for several processors at run time. Valgrind knows no
    # later extension than AVX2, and hides the processor's maker and its caches.
    processor = platform.machine() + (" with AVX2" if "avx2" in flags else "")
    return {
        "rustc": output("rustc", "--version").removeprefix("rustc "),
        "valgrind": output("valgrind", "--version").removeprefix("valgrind-"),
        "C library": " ".join(platform.libc_ver()),
        "processor": processor,
    }


def output(*command: str) -> str:
    """Run a command, and return what it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def build() -> None:
    """Build the program as the wheel is built, whatever this environment changes."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in FLAGS and not name.startswith("CARGO_PROFILE_")
    }
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "--no-default-features"]
        + ["--example", "instructions", "--target-dir", str(TARGET)],
        cwd=ROOT,
        env=environment | {"CARGO_INCREMENTAL": "0"},
        check=True,
    )


def measure(name: str, counted: str) -> int:
    """Return the number of instructions of a part."""
    details = DETAILS / name
    details.parent.mkdir(parents=True, exist_ok=True)
    details.unlink(missing_ok=True)
    done = subprocess.run(
        ["valgrind", "--quiet", "--tool=callgrind", f"--toggle-collect={counted}"]
        + [f"--callgrind-out-file={details}", str(PROGRAM), name],
        # Nothing else of this environment, neither options for valgrind nor its size.
        env={"PATH": os.environ["PATH"], "GLIBC_TUNABLES": TUNABLES},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=LIMIT,
    )
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stdout}")
    return total(details.read_text())


def total(profile: str) -> int:
    """Return the number of instructions in a file of callgrind."""
    for line in profile.splitlines():
        name, _, counts = line.partition(":")
        if name == "totals":
            return int(counts)
    raise SystemExit("callgrind has written no total")


def measure_all() -> Counts:
    """Return the numbers of instructions of all parts."""
    parts = [line.split(" ", 1) for line in output(str(PROGRAM)).splitlines()]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = pool.map(lambda part: measure(*part), parts)
        return {name: count for (name, _), count in zip(parts, counts, strict=True)}


def main() -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the figures anew")
    update = parser.parse_args().update
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is missing: apt-get install valgrind")
    build()
    found = Figures(tools(), measure_all())
    committed = Figures({}, {})
    if FIGURES.exists():
        committed = Figures.read(FIGURES.read_text())
    print(*table(committed.counts, found.counts), sep="\n")
    if update:
        FIGURES.write_text(found.write())
        return 0
    lines, failed = verdict(committed, found)
    print(*lines, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""benches/instructions.py: counts, and the figures that they are compared with."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benches" / "instructions.py"

TOOLS = {"rustc": "1.95.0", "valgrind": "3.19.0"}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    # By its path: benches is no package.
    spec = importlib.util.spec_from_file_location("instructions", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("count", [97_000, 100_000, 103_000])
def test_counts_within_the_tolerance_pass(tool: ModuleType, count: int) -> None:
    assert tool.faults({"a": 100_000}, {"a": count}) == []


def test_a_slower_part_fails(tool: ModuleType) -> None:
    found = {"a": 103_001, "b": 100_000}
    assert tool.faults({"a": 100_000, "b": 100_000}, found) == [
        "a is slower: +3.0 % instructions"
    ]


def test_a_faster_part_fails_until_its_figure_is_committed(tool: ModuleType) -> None:
    assert tool.faults({"a": 100_000}, {"a": 80_000}) == [
        "a is faster: commit the new figures (-20.0 % instructions)"
    ]


def test_parts_and_figures_are_the_same(tool: ModuleType) -> None:
    assert tool.faults({"old": 1}, {"new": 1}) == [
        "new has no figure: commit one",
        "old has a figure, and is not there: commit the figures",
    ]


@pytest.mark.parametrize("committed", [0, 100])
def test_a_part_that_counts_nothing_fails(tool: ModuleType, committed: int) -> None:
    (fault,) = tool.faults({"a": committed}, {"a": 0})
    assert fault.startswith("a: nothing was counted")


def test_the_same_counts_pass_with_other_tools_which_are_named(
    tool: ModuleType,
) -> None:
    committed = tool.Figures(TOOLS, {"a": 100})
    found = tool.Figures(TOOLS | {"rustc": "1.99.0"}, {"a": 101})
    assert tool.verdict(committed, found) == (
        ["The figures were made with 1.95.0 (rustc), this is 1.99.0."],
        False,
    )


def test_other_counts_fail_with_other_tools_and_tell_what_to_do(
    tool: ModuleType,
) -> None:
    committed = tool.Figures(TOOLS, {"a": 100})
    found = tool.Figures(TOOLS | {"rustc": "1.99.0"}, {"a": 110})
    lines, failed = tool.verdict(committed, found)
    assert failed
    assert lines[:2] == [
        "a is slower: +10.0 % instructions",
        "The figures were made with 1.95.0 (rustc), this is 1.99.0.",
    ]
    assert "the commit before your change" in lines[2]


def test_other_counts_with_the_same_tools_name_the_command(tool: ModuleType) -> None:
    lines, failed = tool.verdict(
        tool.Figures(TOOLS, {"a": 100}), tool.Figures(TOOLS, {"a": 110})
    )
    assert failed
    assert "make instructions UPDATE=1" in lines[1]


def test_a_table_has_every_part(tool: ModuleType) -> None:
    lines = tool.table({"a/b": 1_000, "old": 5}, {"a/b": 1_020, "new": 7})
    assert [line.split() for line in lines] == [
        ["part", "committed", "now", "ratio"],
        ["a/b", "1,000", "1,020", "1.0200"],
        ["new", "-", "7", "-"],
        ["old", "5", "-", "-"],
    ]


def test_figures_survive_being_written(tool: ModuleType) -> None:
    figures = tool.Figures(TOOLS, {"b": 2, "a": 1})
    assert tool.Figures.read(figures.write()) == figures
    assert list(tool.Figures.read(figures.write()).counts) == ["b", "a"]


def test_the_total_of_callgrind_is_read(tool: ModuleType) -> None:
    assert tool.total("events: Ir\nfn=(1) a\n0 12\ntotals: 1234\n") == 1234
    with pytest.raises(SystemExit):
        tool.total("events: Ir\n")


def test_the_committed_figures_name_every_part_of_the_program(
    tool: ModuleType,
) -> None:
    program = (tool.FIGURES.parent / "main.rs").read_text()
    figures = tool.Figures.read(tool.FIGURES.read_text())
    parts = re.findall(r'"((?:protocol|outbox|hub)/[^"]+)"', program)
    assert list(figures.counts) == parts

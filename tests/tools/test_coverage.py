"""tools/coverage.py: rooms, their lines and their floors."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "coverage.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    # By its path: "coverage" is the name of the package that measures.
    spec = importlib.util.spec_from_file_location("coverage_tool", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(**files: tuple[int, int]) -> dict[str, Any]:
    return {
        "files": {
            f"python/dwebsocket/{name}": {
                "summary": {"num_statements": total, "covered_lines": run}
            }
            for name, (total, run) in files.items()
        }
    }


def test_a_room_is_the_first_folder(tool: ModuleType) -> None:
    files = {
        "push.py": (10, 9),
        "session.py": (20, 20),
        "hub/groups.py": (3, 3),
        "contrib/chat/views.py": (4, 1),
        "contrib/push/views.py": (6, 4),
    }
    assert tool.rooms(report(**files)) == {
        ".": (30, 29),
        "contrib": (10, 5),
        "hub": (3, 3),
    }


@pytest.mark.parametrize(
    ("total", "run", "percent"), [(1000, 999, 99), (3, 2, 66), (5, 5, 100), (0, 0, 100)]
)
def test_percents_are_rounded_down(
    tool: ModuleType, total: int, run: int, percent: int
) -> None:
    assert tool.Lines(total, run).percent == percent


def test_a_room_may_not_fall_below_its_floor(tool: ModuleType) -> None:
    found = {"conf": tool.Lines(100, 90), "hub": tool.Lines(100, 90)}
    assert tool.faults(found, {"conf": 90, "hub": 80}) == []
    assert tool.faults(found, {"conf": 91, "hub": 90}) == [
        "conf is below its floor of 91 %"
    ]


def test_rooms_and_floors_are_the_same(tool: ModuleType) -> None:
    found = {"new": tool.Lines(100, 90)}
    assert tool.faults(found, {"old": 1}) == [
        "new has no floor",
        "old has a floor, and is not there",
    ]


def test_floors_replace_those_that_are_there(tool: ModuleType) -> None:
    frame = "[a]\nb = 1\n\n[tool.dwebsocket.coverage]\n{}\n\n[c]\nd = 3\n"
    text = frame.format('"." = 1\nold = 2')
    found = {".": tool.Lines(3, 2), "hub": tool.Lines(1, 1)}
    assert tool.with_floors(text, found) == frame.format('"." = 66\n"hub" = 100')

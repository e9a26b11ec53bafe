"""benches/common.py: where trees are built, and a load program that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import common
import pytest


def test_every_commit_is_built_in_a_place_of_its_own() -> None:
    trees = [common.ROOT, Path("tree/0123456789abcdef"), Path("tree/fedcba9876543210")]
    assert len({common.target_of(tree) for tree in trees}) == 3


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A script that stands for the load program."""
    script = tmp_path / "load"
    monkeypatch.setattr(common, "cargo", lambda *_: str(script))
    return script


def write(script: Path, program: str) -> None:
    script.write_text(f"#!{sys.executable}\nimport sys, time\n{program}\n")
    script.chmod(0o755)


def test_the_figures_are_those_that_the_load_program_prints(load: Path) -> None:
    write(load, 'print(\'{"rate": 2, "in_flight": %s}\' % sys.argv[5])')
    found = common.load_once("none", "echo", [1, 2], {"in_flight": 8})
    assert found == {"rate": 2, "in_flight": 8}


def test_a_run_with_a_lost_message_fails_with_the_reason(load: Path) -> None:
    write(load, "print('{}')\nsys.exit('load: the server lost 1 message')")
    with pytest.raises(common.Failed, match=r"^the server lost 1 message$"):
        common.load_once("none", "echo", [], {})


def test_a_run_that_hangs_fails(load: Path) -> None:
    write(load, "time.sleep(60)")
    with pytest.raises(common.Failed, match=r"more than 0.5 s"):
        common.load_once("none", "echo", [], {}, limit=0.5)


def test_a_profile_is_what_changes_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in common.profile():
        monkeypatch.delenv(name)
    monkeypatch.setenv("CARGO_PROFILE_RELEASE_LTO", "off")
    assert common.profile() == {"CARGO_PROFILE_RELEASE_LTO": "off"}

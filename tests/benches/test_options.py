"""benches/runner/options.py: PEERS=, SCENARIOS=, CORES= and what they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner import options

PEERS = ["ours", "old", "picows"]


def test_names_are_separated_by_commas_or_spaces_and_come_in_order() -> None:
    assert options.chosen("picows, ours", PEERS) == ("ours", "picows")
    assert options.chosen("picows ours ours", PEERS) == ("ours", "picows")
    assert options.chosen("", PEERS) == ()


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'ous' is none of ours, old, picows"):
        options.chosen("ous", PEERS)


def test_the_command_line_ends_with_an_unknown_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        options.parse(["--scenarios", "ecko"], PEERS)
    assert "'ecko' is none of echo, handshake" in capsys.readouterr().err


def test_a_part_is_told_by_its_command() -> None:
    words = ["--peers", "picows,ours", "--scenarios", "echo", "--cores", "one"]
    found = options.parse([*words, "--seconds", "0.5"], PEERS)
    assert not found.whole
    assert found.command() == (
        "make bench PEERS=ours,picows SCENARIOS=echo CORES=one SECONDS=0.5"
    )


def test_without_names_everything_is_measured() -> None:
    found = options.parse([], PEERS)
    assert found.whole
    assert found.command() == "make bench"
    assert found.cores_of("echo") == ["one", "all", "busy"]
    assert found.rounds_of("echo") > found.rounds_of("growth")


def test_the_thorough_run_has_more_rounds() -> None:
    short, full = options.parse([], PEERS), options.parse(["--full"], PEERS)
    for group in options.ROUNDS:
        assert full.rounds_of(group) > short.rounds_of(group)
    assert options.parse(["--full", "--rounds", "1"], PEERS).rounds_of("echo") == 1


def test_a_group_is_measured_in_the_chosen_setting_though_it_is_not_its_own() -> None:
    found = options.parse(["--cores", "busy"], PEERS)
    assert found.cores_of("growth") == ["busy"]
    assert options.parse(["--cores", "one,busy"], PEERS).cores_of("growth") == ["one"]


def test_several_files_make_one_report() -> None:
    found = options.parse(["--report", "a.json", "b.json"], PEERS)
    assert found.report == (Path("a.json"), Path("b.json"))

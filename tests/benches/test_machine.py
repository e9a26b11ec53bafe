"""benches/runner/machine.py: which processors the server, the load and others have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from runner import machine


def test_two_processors() -> None:
    one, everything, busy = machine.settings(machine.NAMES, [0, 1])
    assert (one.server, one.clients, one.cpus) == ("0", "1", "0:1")
    assert one.threads == everything.threads == 1
    assert (everything.server, everything.cpus) == (None, "none")
    assert (busy.server, busy.spinners) == (None, (1,))


def test_eight_processors_of_which_some_are_not_ours() -> None:
    one, _, busy = machine.settings(machine.NAMES, [2, 3, 4, 5, 8, 9, 10, 11])
    assert (one.cpus, one.threads) == ("2:3,4,5", 3)
    assert busy.spinners == (8, 9, 10, 11)


def test_one_processor() -> None:
    one, _, busy = machine.settings(machine.NAMES, [3])
    assert (one.cpus, one.threads) == ("3:3", 1)
    assert busy.spinners == (3,)


def test_a_busy_program_ends_with_its_block() -> None:
    (busy,) = machine.settings(["busy"], machine.processors()[-1:])
    with machine.prepared(busy) as spinners:
        (pid,) = spinners
        assert os.sched_getaffinity(pid) == {*busy.spinners}
    assert not Path(f"/proc/{pid}").exists()


def test_the_description_names_the_machine() -> None:
    found = machine.description()
    assert {"date", "commit", "processor", "processors", "kernel"} <= {*found}


def test_a_setting_that_is_not_known() -> None:
    with pytest.raises(KeyError):
        machine.settings(["two"], [0, 1])

"""A short run of the kill test for each broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from .brokers import BROKERS
from .run import Plan, run


@pytest.mark.timeout(180)
@pytest.mark.parametrize("broker", list(BROKERS))
def test_every_client_gets_every_number_once(broker: str, tmp_path: Path) -> None:
    plan = Plan(
        broker=broker,
        clients=60,
        processes=3,
        seconds=15,
        calm=(0.5, 2.0),
        down=(0.1, 1.5),
    )
    assert run(plan, tmp_path) == []

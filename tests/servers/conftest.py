"""Fixtures of the black-box tests."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from .fixtures import database, pool, report, reports, server, shared_pool, variant
from .fixtures import make_report as _make_report

__all__ = (
    "database",
    "pool",
    "report",
    "reports",
    "server",
    "shared_pool",
    "variant",
)


def pytest_configure(config: pytest.Config) -> None:
    """Let children have Ctrl-C, also where a shell has started pytest without it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Show the servers' logs with a failure."""
    return _make_report(item, (yield))

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of one server together, in random order too: servers start slowly."""
    first: dict[Any, int] = {}
    places = {}
    for number, item in enumerate(items):
        callspec = getattr(item, "callspec", None)
        server = callspec.params.get("server") if callspec else None
        shared: Any = (item.path, server) if isinstance(server, str) else number
        places[item] = first.setdefault(shared, number)
    items.sort(key=places.__getitem__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Show the servers' logs with a failure."""
    return _make_report(item, (yield))

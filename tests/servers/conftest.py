"""Fixtures of the black-box tests."""

from __future__ import annotations

import signal
from pathlib import Path
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

HERE = Path(__file__).resolve().parent


def pytest_configure(config: pytest.Config) -> None:
    """Let children have Ctrl-C, also where a shell has started pytest without it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a server together, in random order too: servers start slowly.

    The tests of all modules, since each of thirty servers would start in each of them.
    """
    first: dict[Any, int] = {}
    places = {}
    for number, item in enumerate(items):
        callspec = getattr(item, "callspec", None)
        server = callspec.params.get("server") if callspec else None
        is_shared = isinstance(server, str) and item.path.parent == HERE
        places[item] = first.setdefault(server if is_shared else number, number)
    items.sort(key=places.__getitem__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Show the servers' logs with a failure."""
    return _make_report(item, (yield))

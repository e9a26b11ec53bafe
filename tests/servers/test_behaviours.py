"""Every behaviour, of every kind of view, under every server."""

from __future__ import annotations

from typing import Any

import pytest

from .behaviours import BEHAVIOURS, Site
from .harness import Server
from .reports import Channel
from .site.kinds import KINDS
from .specs import ALL_SPECS
from .table import EXCEPTIONS, marks


def test_the_table_names_behaviours_views_and_servers():
    assert EXCEPTIONS
    for name, kind, server in EXCEPTIONS:
        assert name in BEHAVIOURS, name
        assert kind in KINDS, kind
        assert server in ALL_SPECS, server


def _run(server: str, kind: str, name: str) -> Any:
    return pytest.param(
        *(server, kind, name),
        id=f"{server}-{kind}-{name.replace(' ', '-')}",
        marks=marks(name, kind, server),
    )


@pytest.mark.parametrize(
    ("server", "kind", "name"),
    [
        _run(server, kind, name)
        for server in ALL_SPECS
        for kind in KINDS
        for name in BEHAVIOURS
    ],
    indirect=["server"],
)
def test_behaviour(
    request: pytest.FixtureRequest,
    server: Server,
    report: Channel,
    kind: str,
    name: str,
):
    try:
        BEHAVIOURS[name](Site(server, report, kind))
    finally:
        if request.node.get_closest_marker("xfail"):
            server.begin()

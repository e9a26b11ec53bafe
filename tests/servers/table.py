"""Reads what combinations of views and servers cannot do, in docs/servers.md."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docs import pages

from .site.kinds import KINDS

#: The behaviours of which other tests must know.
SENDS_HEADERS = "the headers of the response are sent"
HAS_STATUS = "a refusal has its status and its text"


def _exceptions() -> dict[tuple[str, str, str], str]:
    """Return what happens instead, by behaviour, kind of view and server."""
    page = pages.ROOT / "docs" / "servers.md"
    rows = pages.rows(pages.section(page, "What is different"))
    return {
        (name.strip("`"), kind.strip(" `"), server.strip(" `")): instead
        for name, kinds, servers, instead in rows
        for kind in (KINDS if kinds == "all" else kinds.split(","))
        for server in servers.split(",")
    }


EXCEPTIONS = _exceptions()


def marks(name: str, kind: str, server: str) -> list[Any]:
    """Return the marks of a test: it must fail where the table has an exception."""
    instead = EXCEPTIONS.get((name, kind, server))
    return [] if instead is None else [pytest.mark.xfail(reason=instead, strict=True)]

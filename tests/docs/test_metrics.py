"""docs/metrics.md explains each metric; the board asks for no other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.core import Metric

from dwebsocket import monitor
from dwebsocket.management.commands.wsinfo import Command
from dwebsocket.monitor.exposition import families

from . import pages
from .pages import ROOT

PAGE = ROOT / "docs" / "metrics.md"
BOARD = ROOT / "docs" / "grafana.json"

EXPORTED: dict[str, Metric] = {
    metric.name + ("_total" if metric.type == "counter" else ""): metric
    for metric in families(monitor.Site(()))
}


def _code(cell: str) -> str:
    return cell.strip("`")


def _board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(BOARD.read_text())
    return loaded


def test_the_page_explains_each_metric() -> None:
    rows = pages.rows(pages.section(PAGE, "Metrics"))
    assert [_code(cells[0]) for cells in rows if cells[0].startswith("`dwebsocket_")]
    assert sorted(_code(cells[0]) for cells in rows) == sorted(EXPORTED)
    assert all(len(cells) == 3 and cells[1] for cells in rows)


def test_the_page_names_the_labels() -> None:
    rows = {_code(r[0]): r[1] for r in pages.rows(pages.section(PAGE, "Metrics"))}
    for name, label in [
        ("dwebsocket_connections_closed_total", "code"),
        ("dwebsocket_connections_by_view", "view"),
        ("dwebsocket_connections_by_view", "transport"),
        ("dwebsocket_handshakes_refused_total", "status"),
        ("dwebsocket_messages_dropped_total", "policy"),
    ]:
        assert f"`{label}`" in rows[name]


def test_the_page_names_all_that_is_public() -> None:
    text = PAGE.read_text()
    for name in monitor.__all__:
        assert re.search(rf"`(monitor\.)?{name}\b", text), name


def test_the_page_names_the_options_of_wsinfo() -> None:
    parser = Command().create_parser("manage.py", "wsinfo")
    text = PAGE.read_text()
    for option in ("--watch", "--json", "--rows", "--search", "--machine"):
        assert option in parser.format_help()
        assert f"`{option}" in text


@pytest.mark.parametrize("panel", _board()["panels"], ids=lambda panel: panel["title"])
def test_the_board_asks_for_metrics_that_exist(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        names = re.findall(r"dwebsocket_\w+", target["expr"])
        assert names, target
        for name in names:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in EXPORTED or EXPORTED[base].type == "histogram"
        opened = re.sub(r"[^(){}\[\]]", "", target["expr"])
        while (closed := re.sub(r"\(\)|\{\}|\[\]", "", opened)) != opened:
            opened = closed
        assert not opened, f"a bracket is missing: {target['expr']}"


def test_the_board_shows_every_metric() -> None:
    asked = BOARD.read_text()
    for name, metric in EXPORTED.items():
        assert name + ("_bucket" if metric.type == "histogram" else "") in asked


def test_the_board_can_be_imported() -> None:
    board = _board()
    assert {"title", "uid", "schemaVersion", "panels", "templating"} <= set(board)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)

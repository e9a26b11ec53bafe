"""Pages of connections and groups from several processes."""

from __future__ import annotations

import bisect
from typing import Any

import pytest

from dwebsocket import monitor
from dwebsocket.monitor import asking


def _row(number: int) -> dict[str, Any]:
    names = monitor.Connection.__dataclass_fields__
    row: dict[str, Any] = dict.fromkeys(names, 0)
    del row["process"]
    return row | {"id": number, "some_groups": ["x"]}


HELD = {"a": list(range(1, 8)), "b": [], "c": [3, 5, 900]}
GROUPS = {"a": {"x": 1, "z": 2}, "b": {"w": 3, "x": 4}}


@pytest.fixture(autouse=True)
def processes(monkeypatch):
    """Answer as the engines of three processes do (src/monitor/answer.rs)."""

    def ask(question, scope, places=None):
        answers = []
        for name in sorted(HELD):
            answer: dict[str, Any] = {"process": name}
            if question["kind"] == "rows":
                ids = HELD[name]
                if name < question["process"]:
                    ids = []
                elif name == question["process"]:
                    ids = ids[bisect.bisect_right(ids, question["after"]) :]
                answer["rows"] = [_row(n) for n in ids[: question["limit"]]]
                answer["more"] = len(ids) > question["limit"]
            else:
                found = sorted(GROUPS.get(name, {}).items())
                found = [one for one in found if one[0] > question["after"]]
                answer["groups"] = [
                    {"name": n, "members": m} for n, m in found[: question["limit"]]
                ]
                answer["more"] = len(found) > question["limit"]
            answers.append(answer)
        return answers

    monkeypatch.setattr(asking, "ask", ask)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 9, 10, 11, 500])
def test_pages_have_every_connection_once(limit: int) -> None:
    found, after = [], ""
    for _ in range(20):
        page = monitor.connections(after, limit)
        assert len(page.rows) <= limit
        found += [(row.process, row.id) for row in page.rows]
        after = page.after
        if not after:
            break
    assert found == [(name, id) for name in sorted(HELD) for id in HELD[name]]


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_groups_are_added_up_over_processes(limit: int) -> None:
    found, after = [], ""
    for _ in range(20):
        page = monitor.groups(after, limit)
        found += page.rows
        after = page.after
        if not after:
            break
    assert found == [("w", 3, 1), ("x", 5, 2), ("z", 2, 1)]


@pytest.mark.parametrize("limit", [0, 501, -1])
def test_a_page_has_its_limits(limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 500"):
        monitor.connections(limit=limit)
    with pytest.raises(ValueError, match="1 to 500"):
        monitor.groups(limit=limit)


def test_a_strange_cursor_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        monitor.connections("a:b")


def test_closing_all_needs_a_user_or_a_group() -> None:
    with pytest.raises(ValueError, match="a user or a group"):
        monitor.close_all()

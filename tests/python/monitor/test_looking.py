"""Several questions in one round."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dwebsocket import _engine, monitor
from dwebsocket.monitor import asking
from dwebsocket.monitor.listing import connections_question, groups_question
from dwebsocket.monitor.looking import look

from . import answers

ROWS = connections_question("", 2)
GROUPS = groups_question("", 2)


@pytest.fixture
def said(monkeypatch) -> list[dict[str, Any]]:
    """Have three processes answer: one of them is of an older release."""
    found: list[dict[str, Any]] = []

    def row(number: int) -> dict[str, Any]:
        names = monitor.Connection.__dataclass_fields__
        return dict.fromkeys(names, 0) | {"id": number, "some_groups": []}

    def ask(question, scope, places=None):
        found.append(question)
        plain = answers.answer("a", counters=answers.counters(opened=3))
        own = {name: plain.pop(name) for name in ("process", "pid", "host")}
        rows = {"rows": [row(1), row(2)], "more": False}
        groups = {"groups": [{"name": "x", "members": 2}], "more": False}
        parts = {"figures": plain, "rows": rows, "groups": groups}
        made = [parts[one["kind"]] for one in question["questions"]]
        return [
            own | {"answers": made},
            own | {"process": "b", "answers": made},
            own | {"process": "c"},
        ]

    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setattr(asking, "here", lambda: asking.Here([]))
    return found


def test_one_round_has_all(said) -> None:
    found = look([ROWS, connections_question("", 3)], [GROUPS])
    assert len(said) == 1
    assert [one.name for one in found.site.processes] == ["a", "b"]
    assert found.site.counters.opened == 6
    first, second = found.connections
    assert [(row.process, row.id) for row in first.rows] == [("a", 1), ("a", 2)]
    assert first.after == "a:2"
    assert [(row.process, row.id) for row in second.rows][2:] == [("b", 1)]
    assert found.groups == [monitor.Groups([monitor.Group("x", 4, 2)], "")]


def test_a_round_has_its_limit(said) -> None:
    with pytest.raises(ValueError, match="at most 64 questions, not 65"):
        look([ROWS] * 32, [GROUPS] * 32)


def _answer(**question: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_engine.monitor_answer(json.dumps(question)))
    return found


def test_the_engine_answers_several_questions_in_their_order() -> None:
    # A connection of an earlier test may still be closing.
    nobody = {"kind": "rows", "search": "nobody is here"}
    several = [{"kind": "groups"}, {"kind": "figures"}, nobody]
    found = _answer(kind="several", questions=several)
    assert found["process"] == answers.own()["process"]
    assert [sorted(part)[:1] for part in found["answers"]][0] == ["groups"]
    assert "counters" in found["answers"][1]
    assert found["answers"][2] == {"rows": [], "more": False}


@pytest.mark.parametrize(
    "questions",
    [None, 7, ["?"], [{}], [{"kind": "figures"}, {"kind": "several", "questions": []}]],
)
def test_the_engine_does_not_answer_nonsense(questions) -> None:
    assert "answers" not in _answer(kind="several", questions=questions)

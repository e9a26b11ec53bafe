"""Figures, connections and groups in one round of questions.

A page that shows all of them asks every process once for each look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from . import asking, figures, listing
from .asking import Answer, Scope
from .figures import Site
from .listing import Connections, Groups

__all__ = ("Look", "look")

#: The most questions of one round (src/monitor/question.rs has the same number).
MOST = 64


class Look(NamedTuple):
    """What the processes have answered in one round.

    Args:
        site: Their figures.
        connections: The pages of connections, in the order of the questions.
        groups: The pages of groups, in the order of the questions.
    """

    site: Site
    connections: list[Connections]
    groups: list[Groups]


def look(
    connections: Sequence[Answer],
    groups: Sequence[Answer],
    scope: Scope = "site",
) -> Look:
    """Ask all processes for the figures, and for pages of connections and of groups.

    Args:
        connections: Questions of :func:`~.listing.connections_question`.
        groups: Questions of :func:`~.listing.groups_question`.
        scope: As for :func:`~.figures.site`.

    Raises:
        PermissionError: As for :func:`~.figures.site`.
        ValueError: There are too many questions for one round.
    """
    here = asking.here()
    questions = [figures.question(scope), *connections, *groups]
    if len(questions) > MOST:
        raise ValueError(f"a round has at most {MOST} questions, not {len(questions)}")
    several = {"kind": "several", "questions": questions}
    answers = asking.ask(several, scope, here.places)
    site = figures.answered(here, _nth(answers, 0))
    pages = [
        listing.connections_answered(_nth(answers, number), question["limit"])
        for number, question in enumerate(connections, 1)
    ]
    others = [
        listing.groups_answered(_nth(answers, number), question["limit"])
        for number, question in enumerate(groups, 1 + len(connections))
    ]
    return Look(site, pages, others)


def _nth(answers: Sequence[Answer], number: int) -> list[Answer]:
    """Return the answers to one of the questions."""
    found = []
    for answer in answers:
        # A process of an older release does not know several questions in one.
        parts = answer.get("answers", ())
        if number < len(parts):
            names = ("process", "pid", "host")
            own = {name: answer[name] for name in names if name in answer}
            found.append({**own, **parts[number]})
    return found

"""Views of requests that middleware passes from one kind of code to the other.

The site's ``crossing`` says what the views do.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .harness import Server
from .reports import Channel
from .site import crossing, passing
from .site.settings import MIDDLEWARE
from .table import EXCEPTIONS, HAS_STATUS

SYNC = f"{passing.__name__}.synchronous"
ASYNC = f"{passing.__name__}.Asynchronous"

#: The middleware that each server's handler has to adapt; Django's is of both kinds.
SERVERS = [
    ("uvicorn", SYNC),
    ("uvicorn-queue", SYNC),
    ("hypercorn", SYNC),
    ("daphne", SYNC),
    ("granian", SYNC),
    ("gunicorn-gthread", ASYNC),
]
crossed = pytest.mark.parametrize(("spec", "middleware"), SERVERS)


def count(answer: str) -> int:
    """Return how many calls have found the same number of rows."""
    numbers = answer.replace(",", " ").split()
    assert len(set(numbers)) == 1, answer
    assert numbers[0].isdecimal()
    return len(numbers)


@crossed
def test_a_view_makes_calls_of_the_other_kind(
    variant: Callable[..., Server], report: Channel, spec: str, middleware: str
):
    server = variant(spec, settings={"MIDDLEWARE": [middleware, *MIDDLEWARE]})
    for kind in crossing.VIEWS:
        client = server.open(f"/crossing/{kind}?key={report.key}")
        for _ in range(3):
            client.send("?")
            assert count(str(client.receive())) >= 3, kind
        client.close()
        assert count(report.expect("end")) >= 3, kind


@crossed
def test_a_view_refuses_after_calls_of_the_other_kind(
    variant: Callable[..., Server], spec: str, middleware: str
):
    server = variant(spec, settings={"MIDDLEWARE": [middleware, *MIDDLEWARE]})
    for kind in crossing.REFUSING:
        response = server.client().refused(f"/crossing/{kind}")
        if (HAS_STATUS, "def", spec) not in EXCEPTIONS:
            assert response.status == 409
            assert count(response.body.decode()) >= 3
        server.logged("Conflict")
    server.begin()

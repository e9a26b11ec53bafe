"""Views of requests that come through ``async_to_sync()``, without a network.

asgiref notes the thread that waits there, for the synchronous calls of what it waits
for. A view goes on when that thread waits no longer, or waits for the view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.asgi import get_asgi_application
from django.test import Client, override_settings

from dwebsocket import runners
from dwebsocket.asgi import application
from dwebsocket.testing import WebSocketRefused, connect
from tests.python.asgi.server import Server
from tests.servers.site import crossing, passing

SYNC = f"{passing.__name__}.synchronous"
ASYNC = f"{passing.__name__}.Asynchronous"
#: How many messages each view gets.
MESSAGES = 3


async def _talk(kind: str) -> list[str]:
    server = Server(application(get_asgi_application()), f"/crossing/{kind}")
    event = await server.hear()
    if event["type"] == "websocket.http.response.start":
        body = (await server.hear())["body"]
        await server.ended()
        return [str(event["status"]), body.decode()]
    assert event["type"] == "websocket.accept"
    answers = []
    for _ in range(MESSAGES):
        server.text("?")
        event = await server.hear()
        assert event["type"] == "websocket.send", event
        answers.append(event["text"])
    server.say("websocket.disconnect", code=1000)
    await server.ended()
    return answers


def by_asgi(kind: str) -> list[str]:
    """Talk to a view as an ASGI server; return what it says."""
    return asyncio.run(asyncio.wait_for(_talk(kind), 40))


def by_client(kind: str) -> list[str]:
    """Talk to a view by Django's test client, which calls WSGI."""
    try:
        with connect(Client(), f"/crossing/{kind}", timeout=20) as ws:
            answers = []
            for _ in range(MESSAGES):
                ws.send("?")
                answers.append(str(ws.receive()))
            return answers
    except WebSocketRefused as refused:
        return [str(refused.status), refused.text]


def are_right(answers: list[str]) -> bool:
    """Return whether each call has found the one row."""
    return {word for one in answers for word in one.replace(",", " ").split()} == {"1"}


@pytest.fixture(
    params=[(), (SYNC,), (ASYNC,), (SYNC, ASYNC), (ASYNC, SYNC)],
    ids=["none", "sync", "async", "sync-async", "async-sync"],
)
def middleware(request: Any, tables: None) -> Iterator[None]:
    Group.objects.create(name="the only one")
    chain = [*request.param, f"{passing.__name__}.Mixed"]
    with override_settings(ROOT_URLCONF=crossing.__name__, MIDDLEWARE=chain):
        yield
        # What it does at its end is a query, too.
        assert runners.join(20)


@pytest.mark.usefixtures("middleware")
@pytest.mark.parametrize("talk", [by_asgi, by_client])
@pytest.mark.parametrize("kind", crossing.VIEWS)
def test_a_view_makes_calls_of_the_other_kind(talk: Any, kind: str) -> None:
    answers = talk(kind)
    assert len(answers) == MESSAGES
    assert are_right(answers)


@pytest.mark.usefixtures("middleware")
@pytest.mark.parametrize("talk", [by_asgi, by_client])
@pytest.mark.parametrize("kind", crossing.REFUSING)
def test_a_view_refuses_after_calls_of_the_other_kind(talk: Any, kind: str) -> None:
    status, *answers = talk(kind)
    assert status == "409"
    assert are_right(answers)

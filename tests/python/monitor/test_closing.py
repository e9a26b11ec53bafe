"""Closing all connections of a user, or all in a group."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path

from dwebsocket import monitor, testing, websocket
from dwebsocket.monitor import asking


@websocket
def room(request: Any, name: str) -> None:
    request.websocket.join(name)
    for message in request.websocket:
        request.websocket.send(message)


urlpatterns = [path("<name>", room)]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tables: None) -> Iterator[None]:
    """Ask no other process of this test run."""
    monkeypatch.setattr(asking, "here", lambda: asking.Here([]))
    with override_settings(ROOT_URLCONF=__name__):
        yield


def _open(name: str, user: User | None = None) -> Any:
    client = Client()
    if user is not None:
        client.force_login(user)
    return testing.connect(client, f"/{name}")


@contextlib.contextmanager
def _site() -> Iterator[tuple[str, dict[str, Any]]]:
    """Open connections of a user and of nobody; yield the user and the connections."""
    li = User.objects.create_user("li")
    with (
        _open("tea", li) as tea,
        _open("news", li) as news,
        _open("tea") as guest,
    ):
        yield str(li.pk), {"tea": tea, "news": news, "guest": guest}


@pytest.mark.parametrize(
    ("of_user", "group", "expected"),
    [
        (True, "", {"tea", "news"}),
        (False, "tea", {"tea", "guest"}),
        (True, "tea", {"tea"}),
        (True, "te", set()),
        (False, "nowhere", set()),
    ],
)
def test_those_of_a_user_or_in_a_group(of_user, group, expected) -> None:
    with _site() as (li, clients):
        user = li if of_user else ""
        closed = monitor.close_all(user=user, group=group, code=4008, reason="enough")
        assert closed == len(expected)
        for name, client in clients.items():
            if name in expected:
                assert client.wait_closed(10) == 4008
                assert client.close_reason == "enough"
            else:
                client.send("still there")
                assert client.receive() == "still there"


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1000, "x" * 124)])
def test_what_cannot_be_sent_closes_nothing(code, reason) -> None:
    with _site() as (li, clients):
        assert monitor.close_all(user=li, code=code, reason=reason) == 0
        clients["tea"].send("still there")
        assert clients["tea"].receive() == "still there"

"""Views that accept by hand, tested by the same clients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from dwebsocket import websocket
from dwebsocket.testing import WebSocketRefused, aconnect, connect


def _refusal(request: Any) -> HttpResponse | None:
    kind = request.GET.get("do")
    if kind == "redirect":
        return HttpResponseRedirect("/login")
    if kind == "raise":
        raise PermissionDenied
    if kind == "fail":
        raise ZeroDivisionError("before accept()")
    return None


@websocket(accept="manual", accept_timeout=2.0)
def sync(request: Any) -> HttpResponse | None:
    if (response := _refusal(request)) is not None:
        return response
    Group.objects.create(name="before")
    request.websocket.accept(request.GET.get("subprotocol"), {"X-A": "1"})
    Group.objects.create(name="after")
    for message in request.websocket:
        Group.objects.create(name=message)
        request.websocket.send(message)
    return None


@websocket(accept="manual", accept_timeout=2.0)
async def task(request: Any) -> HttpResponse | None:
    if (response := _refusal(request)) is not None:
        return response
    create = sync_to_async(Group.objects.create)
    await create(name="before")
    await request.websocket.accept(request.GET.get("subprotocol"), {"X-A": "1"})
    await create(name="after")
    async for message in request.websocket:
        await create(name=message)
        await request.websocket.send(message)
    return None


@websocket(accept="manual")
async def echo(request: Any) -> HttpResponse | None:
    if (response := _refusal(request)) is not None:
        return response
    await request.websocket.accept()
    async for message in request.websocket:
        await request.websocket.send(message)
    return None


urlpatterns = [path("sync", sync), path("task", task), path("echo", echo)]
pytestmark = pytest.mark.django_db
kinds = pytest.mark.parametrize("kind", ["sync", "task"])


@pytest.fixture(autouse=True)
def urls() -> Any:
    with override_settings(ROOT_URLCONF=__name__):
        yield


def names() -> list[str]:
    return sorted(Group.objects.values_list("name", flat=True))


@kinds
def test_an_accepted_view_takes_turns_in_the_tests_transaction(
    client: Client, kind: str
) -> None:
    for round in range(3):
        Group.objects.all().delete()
        with connect(client, f"/{kind}") as ws:
            assert ws.response["X-A"] == "1"
            assert names() == ["after", "before"]
            for number in range(3):
                ws.send(f"{round} {number}")
                assert f"{round} {number}" in names()
                assert ws.receive() == f"{round} {number}"


@kinds
def test_the_subprotocol_is_the_views(client: Client, kind: str) -> None:
    path = f"/{kind}?subprotocol=b"
    with connect(client, path, subprotocols=["a", "b"]) as ws:
        assert ws.subprotocol == "b"


@kinds
@pytest.mark.parametrize(("do", "status"), [("redirect", 302), ("raise", 403)])
def test_a_refusal_is_the_plain_response(
    client: Client, kind: str, do: str, status: int
) -> None:
    with pytest.raises(WebSocketRefused) as caught:
        connect(client, f"/{kind}?do={do}")
    assert caught.value.response.status_code == status
    assert names() == []


@kinds
def test_an_exception_reaches_the_test(client: Client, kind: str) -> None:
    with pytest.raises(ZeroDivisionError, match=r"before accept\(\)"):
        connect(client, f"/{kind}?do=fail")
    client.raise_request_exception = False
    with pytest.raises(WebSocketRefused) as caught:
        connect(client, f"/{kind}?do=fail")
    assert caught.value.response.status_code == 500


@kinds
def test_two_clients_take_turns(client: Client, kind: str) -> None:
    with connect(client, f"/{kind}") as one:
        Group.objects.all().delete()
        with connect(client, f"/{kind}") as two:
            for number in range(3):
                one.send(f"one {number}")
                two.send(f"two {number}")
                assert one.receive() == f"one {number}"
                assert two.receive() == f"two {number}"


def test_an_asynchronous_test() -> None:
    async def test() -> None:
        with pytest.raises(WebSocketRefused):
            await aconnect(AsyncClient(), "/echo?do=redirect")
        async with await aconnect(AsyncClient(), "/echo") as ws:
            await ws.send("x")
            assert await ws.receive() == "x"

    asyncio.run(asyncio.wait_for(test(), 60))

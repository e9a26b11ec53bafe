"""Asynchronous views, tested by the same clients."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.test import Client, override_settings
from django.urls import path

from dwebsocket import accept_websocket, hub, websocket
from dwebsocket.exceptions import ReceiveTimeout, WebSocketClosed
from dwebsocket.testing import ViewNotEnded, aconnect, connect

release = threading.Event()
noted: list[Any] = []


@websocket
async def echo(request: Any) -> None:
    async for message in request.websocket:
        await request.websocket.send(message)


@accept_websocket
async def classic(request: Any) -> None:
    while (message := await request.websocket.wait()) is not None:
        request.websocket.send(message)


@websocket
async def saves(request: Any) -> None:
    async for name in request.websocket:
        await Group.objects.acreate(name=name)


@websocket
async def sleeps_after_each(request: Any) -> None:
    async for message in request.websocket:
        await asyncio.sleep(0.02)
        noted.append(message)


def _compute() -> None:
    end = time.thread_time() + 0.15
    while time.thread_time() < end:
        pass


@websocket
async def computes(request: Any) -> None:
    async for message in request.websocket:
        await sync_to_async(_compute)()
        noted.append(message)


@websocket
async def member(request: Any, name: str) -> None:
    await request.websocket.join("room")
    async for message in request.websocket:
        await hub.group("room").asend(f"{name}: {message}")


@websocket
async def fails(request: Any) -> None:
    await request.websocket.wait()
    raise ValueError("the view has failed")


@websocket
async def limited(request: Any) -> None:
    ws = request.websocket
    while not ws.is_closed():
        try:
            await ws.send(await asyncio.wait_for(ws.receive(), 0.01))
        except asyncio.TimeoutError:
            await ws.send("late")
        except WebSocketClosed:
            return


@websocket
async def never_ends(request: Any) -> None:
    await asyncio.sleep(600)


@websocket
async def thread(request: Any) -> None:
    async for _ in request.websocket:
        name = await sync_to_async(threading.get_ident)()
        await request.websocket.send(str(name != threading.get_ident()))


urlpatterns = [
    path("echo/", echo),
    path("classic/", classic),
    path("saves/", saves),
    path("sleeps/", sleeps_after_each),
    path("computes/", computes),
    path("member/<str:name>/", member),
    path("fails/", fails),
    path("limited/", limited),
    path("never-ends/", never_ends),
    path("thread/", thread),
]


@pytest.fixture(autouse=True)
def asynchronous_urls(urls: None) -> Any:
    noted.clear()
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.mark.parametrize("path", ["/echo/", "/classic/"])
def test_messages(client: Client, path: str) -> None:
    with connect(client, path) as ws:
        for message in ("one", "two"):
            ws.send(message)
            assert ws.receive() == message
        ws.receive_nothing(0.02)
    assert ws.close_code == 1000


def test_a_call_of_the_client_returns_when_the_view_rests(client: Client) -> None:
    with connect(client, "/sleeps/") as ws:
        for number in range(5):
            ws.send(str(number))
            assert noted[-1] == str(number)


def test_a_synchronous_call_is_work_of_the_view(client: Client) -> None:
    with connect(client, "/computes/") as ws:
        ws.send("done")
        assert noted == ["done"]


@pytest.mark.django_db
def test_the_view_uses_the_database_of_the_test(client: Client) -> None:
    with connect(client, "/saves/") as ws:
        ws.send("a")
        assert Group.objects.filter(name="a").exists()
        ws.send("b")
        assert Group.objects.count() == 2


@pytest.mark.django_db
def test_what_it_has_written_is_rolled_back() -> None:
    assert not Group.objects.exists()


def test_two_clients_of_a_group(client: Client) -> None:
    with connect(client, "/member/ana/") as ana, connect(client, "/member/bo/") as bo:
        ana.send("hello")
        assert [ana.receive(), bo.receive()] == ["ana: hello"] * 2


def test_an_exception_of_the_view_is_raised(client: Client) -> None:
    def talk() -> None:
        with connect(client, "/fails/") as ws:
            ws.send("x")
            assert ws.wait_closed() == 1011

    with pytest.raises(ValueError, match="the view has failed"):
        talk()


def test_a_time_limit_of_the_view_loses_nothing(client: Client) -> None:
    with connect(client, "/limited/") as ws:
        assert ws.receive() == "late"
        for number in range(20):
            ws.send(str(number))
            while (message := ws.receive()) == "late":
                pass
            assert message == str(number)


def test_a_view_that_does_not_end_is_cancelled(client: Client) -> None:
    with pytest.raises(ViewNotEnded, match="never_ends"):  # noqa: SIM117
        with connect(client, "/never-ends/", timeout=0.1):
            pass


def test_a_message_that_does_not_come_shows_where_the_view_is(client: Client) -> None:
    with connect(client, "/echo/") as ws, pytest.raises(ReceiveTimeout, match="echo"):
        ws.receive(timeout=0.02)


def test_synchronous_code_has_another_thread(client: Client) -> None:
    with connect(client, "/thread/") as ws:
        ws.send("?")
        assert ws.receive() == "True"


def test_an_asynchronous_test(client: Client) -> None:
    async def talk() -> None:
        async with aconnect(client, "/echo/") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"

    asyncio.run(talk())

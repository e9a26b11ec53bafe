"""Classes in tests of sites: the same clients drive them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from dwebsocket import WebSocketView, hub, on
from dwebsocket.testing import aconnect, connect

from .helpers import AsyncEcho, Echo


class Saves(WebSocketView):
    """Makes a row for each message, and one at the end."""

    def on_message(self, message):
        Group.objects.create(name=message)

    def on_close(self, code):
        Group.objects.create(name=f"closed with {code}")


class AsyncSaves(WebSocketView):
    async def on_message(self, message):
        await Group.objects.acreate(name=message)

    def on_close(self, code):
        Group.objects.create(name=f"closed with {code}")


class Fails(WebSocketView):
    def on_message(self, message):
        raise ValueError("the handler has failed")


class AsyncFails(WebSocketView):
    async def on_message(self, message):
        raise ValueError("the handler has failed")


class Room(WebSocketView):
    groups = ["room.{name}"]

    def on_message(self, message):
        hub.group(f"room.{self.kwargs['name']}").send(message)


class Desk(WebSocketView):
    @on("add")
    def add(self, a: int, b: int):
        return a + b

    @on("fail")
    def fail(self):
        raise ValueError("the method has failed")


class Urls:
    urlpatterns = [
        path("echo/", Echo.as_view()),
        path("async-echo/", AsyncEcho.as_view()),
        path("saves/", Saves.as_view()),
        path("async-saves/", AsyncSaves.as_view()),
        path("fails/", Fails.as_view()),
        path("async-fails/", AsyncFails.as_view()),
        path("room/<name>/", Room.as_view()),
        path("desk/", Desk.as_view()),
    ]


@pytest.fixture(autouse=True)
def urls():
    with override_settings(ROOT_URLCONF=Urls):
        yield


@pytest.mark.parametrize("route", ["/echo/", "/async-echo/"])
def test_messages_are_handled_before_a_call_returns(route):
    with connect(Client(), route) as ws:
        for number in range(3):
            ws.send(str(number))
            assert ws.receive() == str(number)


@pytest.mark.django_db
@pytest.mark.parametrize("route", ["/saves/", "/async-saves/"])
def test_the_database_is_that_of_the_tests_transaction(route):
    with connect(Client(), route) as ws:
        ws.send("milk")
        assert Group.objects.filter(name="milk").exists()
        ws.close(4001)
    names = set(Group.objects.values_list("name", flat=True))
    assert names == {"milk", "closed with 4001"}


@pytest.mark.parametrize("route", ["/fails/", "/async-fails/"])
def test_the_exception_of_a_handler_is_raised_in_the_test(route):
    def talk():
        with connect(Client(), route) as ws:
            ws.send("x")

    with pytest.raises(ValueError, match="the handler has failed"):
        talk()


def test_the_exception_of_a_method_is_raised_in_the_test_too():
    def talk() -> Any:
        with connect(Client(), "/desk/") as ws:
            ws.send_json({"type": "add", "id": 1, "a": 1, "b": 2})
            assert json.loads(ws.receive())["data"] == 3
            ws.send_json({"type": "fail", "id": 2})
            assert json.loads(ws.receive())["code"] == "failed"

    with pytest.raises(ValueError, match="the method has failed"):
        talk()


def test_several_clients_share_groups():
    with (
        connect(Client(), "/room/a/") as one,
        connect(Client(), "/room/a/") as two,
    ):
        one.send("hello")
        assert one.receive() == two.receive() == "hello"


@pytest.mark.parametrize("route", ["/echo/", "/async-echo/"])
def test_asynchronous_tests_drive_classes(route):
    async def talk():
        async with aconnect(AsyncClient(), route) as ws:
            await ws.send("x")
            assert await ws.receive() == "x"

    asyncio.run(talk())

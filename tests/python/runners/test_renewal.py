"""Views of every kind after a test has changed the broker: the engine is a new one."""

from __future__ import annotations

import pytest
from django.test import override_settings

from dwebsocket import WebSocketView, websocket
from dwebsocket.hub import connecting

TIMEOUT = 20


@websocket
def plain(request):
    for message in request.websocket:
        request.websocket.send(message)


@websocket
async def task(request):
    async for message in request.websocket:
        await request.websocket.send(message)


class Echo(WebSocketView):
    def on_message(self, message):
        self.websocket.send(message)


class AsyncEcho(WebSocketView):
    async def on_message(self, message):
        await self.websocket.send(message)


@pytest.mark.parametrize(
    "view",
    [plain, task, Echo.as_view(), AsyncEcho.as_view()],
    ids=["def", "async", "class", "async-class"],
)
def test_a_view_runs_in_the_new_engine(site, view):
    def echoes():
        with site({"": view}).connect() as peer:
            peer.send("x")
            assert peer.recv(timeout=TIMEOUT) == "x"

    echoes()
    connecting.connect()
    with override_settings(DWEBSOCKET={"BROKER": "redis://127.0.0.1:1/0"}):
        connecting.connect()
    echoes()

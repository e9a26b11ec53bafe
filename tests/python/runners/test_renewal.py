"""Views of every kind after a test has changed the broker: the engine is a new one."""

from __future__ import annotations

import pytest
from django.test import override_settings

from dwebsocket import websocket
from dwebsocket.hub import connecting
from tests.python.classes.helpers import AsyncEcho, Echo, echoes
from tests.python.websocket.test_aio import echo


@websocket
def plain(request):
    for message in request.websocket:
        request.websocket.send(message)


@pytest.mark.parametrize(
    "view",
    [plain, websocket(echo), Echo.as_view(), AsyncEcho.as_view()],
    ids=["def", "async", "class", "async-class"],
)
def test_a_view_runs_in_the_new_engine(site, view):
    def talk():
        with site({"": view}).connect() as peer:
            echoes(peer)

    talk()
    connecting.connect()
    with override_settings(DWEBSOCKET={"BROKER": "redis://127.0.0.1:1/0"}):
        connecting.connect()
    talk()

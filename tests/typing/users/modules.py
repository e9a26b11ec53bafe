"""Public modules, by their full names after ``import dwebsocket``."""

from __future__ import annotations

from typing import Any

from django.core.asgi import get_asgi_application
from django.test import Client
from typing_extensions import assert_type

import dwebsocket

application = dwebsocket.asgi.application(get_asgi_application())
assert_type(application, dwebsocket.asgi.Application)

MIDDLEWARE = [dwebsocket.middleware.WebSocketMiddleware]
LAYERS: list[type[Any]] = [dwebsocket.channels.ChannelLayer]
VIEWS = [dwebsocket.monitor.metrics, dwebsocket.monitor.live]


class Chat(dwebsocket.session.Session):
    def may_join(self, group: str) -> bool:
        return group == "lobby"


def test_chat(client: Client) -> None:
    with dwebsocket.testing.connect(client, "/ws/chat/") as websocket:
        assert_type(websocket, dwebsocket.testing.ClientWebSocket)


# error: mypy=attr-defined pyright=reportAttributeAccessIssue
dwebsocket.sessions.Session()

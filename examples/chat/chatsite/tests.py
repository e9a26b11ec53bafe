"""The chat's own tests: ``python manage.py test``. They need no server."""

# ruff: noqa: PT009, PT027 - these are unittest's tests
from __future__ import annotations

import itertools
from typing import Any

from django.test import SimpleTestCase

from dwebsocket.testing import ClientWebSocket, WebSocketRefused, connect

#: Each page has a key of its own.
numbers = itertools.count()


class ChatTests(SimpleTestCase):
    """What the pages of a room say and hear."""

    def ask(self, name: str, key: str, room: str = "lobby") -> ClientWebSocket:
        """Open a page's WebSocket, and ask to enter a room."""
        ws = connect(self.client, "/chat/")
        self.addCleanup(ws.leave)
        hello = {"chat": "hello", "name": name, "key": key}
        ws.send_json({"type": "data", "data": hello})
        ws.send_json({"type": "join", "id": 1, "group": f"chat.{room}"})
        return ws

    def enter(self, name: str, room: str = "lobby") -> ClientWebSocket:
        """Open a page's WebSocket, and enter a room."""
        ws = self.ask(name, f"key-{next(numbers):08}", room)
        self.hear(ws, "joined")
        return ws

    def hear(self, ws: ClientWebSocket, kind: str) -> dict[str, Any]:
        """Return the next frame of a kind."""
        while (frame := ws.receive_json())["type"] != kind:
            pass
        found: dict[str, Any] = frame
        return found

    def write(self, ws: ClientWebSocket, text: str, room: str = "lobby") -> None:
        data = {"id": "message-1", "text": text}
        ws.send_json(
            {"type": "publish", "id": 2, "group": f"chat.{room}", "data": data}
        )

    def test_members_hear_each_other(self) -> None:
        ana, li = self.enter("Ana"), self.enter("李小龙")
        self.assertEqual(self.hear(ana, "join")["member"]["info"]["name"], "李小龙")
        self.write(li, "你好")
        for ws in (ana, li):
            message = self.hear(ws, "message")["data"]
            self.assertEqual((message["name"], message["text"]), ("李小龙", "你好"))

    def test_who_leaves_is_gone_from_the_list(self) -> None:
        ana, li = self.enter("Ana"), self.enter("Li")
        li.close()
        self.assertEqual(self.hear(ana, "leave")["member"]["info"]["name"], "Li")

    def test_who_vanishes_is_gone_from_the_list(self) -> None:
        ana, li = self.enter("Ana"), self.enter("Li")
        li.drop()
        self.assertEqual(self.hear(ana, "leave")["member"]["info"]["name"], "Li")

    def test_rooms_are_apart(self) -> None:
        ana, li = self.enter("Ana", "one"), self.enter("Li", "two")
        self.write(li, "hello", "two")
        self.hear(li, "message")
        ana.receive_nothing()

    def test_a_name_is_taken_once(self) -> None:
        self.enter("Ana")
        other = self.ask("Ana", "another-key")
        self.assertEqual(self.hear(other, "error")["code"], "name_taken")

    def test_a_page_of_another_site_is_refused(self) -> None:
        with self.assertRaises(WebSocketRefused) as refused:
            connect(self.client, "/chat/", origin="https://evil.example")
        self.assertEqual(refused.exception.status, 403)

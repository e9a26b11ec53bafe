"""The protocol of dwebsocket.js, from the server's side."""

from __future__ import annotations

import json

import pytest
from django.test import override_settings

from dwebsocket import hub, websocket
from dwebsocket.session import Refused, Session


class Chat(Session):
    max_groups = 2

    def may_join(self, group):
        return not group.startswith("secret")

    def may_publish(self, group, data):
        return data != "forbidden"

    def info(self, group):
        return {"name": "Ada"}

    def on_publish(self, group, data):
        if data == "rude":
            raise Refused("invalid", "be nice")
        return {"text": data}

    def on_data(self, data):
        self.send_data(["you said", data])


@pytest.fixture
def client(site):
    @websocket
    def view(request):
        Chat(request.websocket, request).run()

    settings = {"GROUPS": {"session.*": {"history": 5, "ttl": 60}}}
    with override_settings(DWEBSOCKET=settings):
        running = site({"ws": view}, DWEBSOCKET=settings)
        with running.connect("/ws") as connection:

            def ask(*commands):
                for command in commands:
                    text = isinstance(command, str | bytes)
                    connection.send(command if text else json.dumps(command))

            def hear():
                return json.loads(connection.recv(10))

            welcome = hear()
            assert welcome["type"] == "welcome"
            assert welcome["ping"] > 0
            yield ask, hear, welcome["id"]


def test_join_publish_members_leave(client):
    ask, hear, me = client
    ask({"type": "join", "id": 1, "group": "session.a"})
    joined = hear()
    epoch = joined.pop("epoch")
    assert joined == {
        "type": "joined",
        "id": 1,
        "group": "session.a",
        "recovered": False,
        "offset": 0,
        "missed": 0,
    }
    ask({"type": "publish", "id": "p", "group": "session.a", "data": "hi"})
    assert sorted([hear(), hear()], key=str) == [
        {"type": "ack", "id": "p", "offset": 1, "epoch": epoch},
        {
            "type": "message",
            "group": "session.a",
            "data": {"text": "hi"},
            "offset": 1,
            "epoch": epoch,
        },
    ]
    ask({"type": "members", "id": 3, "group": "session.a"})
    assert hear() == {
        "type": "members",
        "id": 3,
        "group": "session.a",
        "count": 1,
        "members": [{"id": me, "info": {"name": "Ada"}}],
    }
    ask({"type": "leave", "id": 4, "group": "session.a"})
    assert hear() == {"type": "left", "group": "session.a", "id": 4}
    hub.group("session.a", history=5, ttl=60.0).send("while away")
    since = {"offset": 1, "epoch": epoch}
    ask({"type": "join", "id": 5, "group": "session.a", "since": since})
    back = hear()
    assert (back["recovered"], back["offset"], back["missed"]) == (True, 2, 1)
    assert hear()["data"] == "while away"


def test_ping_and_data(client):
    ask, hear, _ = client
    ask({"type": "ping"}, {"type": "data", "data": {"x": 1}})
    assert hear() == {"type": "pong"}
    assert hear() == {"type": "data", "data": ["you said", {"x": 1}]}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("not json", "invalid"),
        (b"\xff\xff", "invalid"),
        ("[" * 100_000, "invalid"),
        ("[]", "invalid"),
        ({"type": "dance"}, "invalid"),
        ({"type": "join", "id": [1], "group": "x"}, "invalid"),
        ({"type": "join", "id": "x" * 65, "group": "x"}, "invalid"),
        ({"type": "join", "id": 1}, "invalid"),
        ({"type": "join", "id": 1, "group": ""}, "invalid"),
        ({"type": "join", "id": 1, "group": "x", "since": 5}, "invalid"),
        ({"type": "join", "id": 1, "group": "secret"}, "forbidden"),
        ({"type": "members", "id": 1, "group": "secret"}, "forbidden"),
        ({"type": "publish", "id": 1, "group": "x", "data": 1}, "forbidden"),
    ],
    ids=str,
)
def test_what_cannot_be_met_is_answered_and_the_connection_stays(client, command, code):
    ask, hear, _ = client
    ask(command, {"type": "ping"})
    answer = hear()
    assert (answer["type"], answer["code"]) == ("error", code)
    assert answer["message"]
    assert hear() == {"type": "pong"}


def test_the_application_decides_what_is_published(client):
    ask, hear, _ = client
    ask({"type": "join", "id": 1, "group": "session.b"})
    assert hear()["type"] == "joined"
    for data, code in [("forbidden", "forbidden"), ("rude", "invalid")]:
        ask({"type": "publish", "id": 2, "group": "session.b", "data": data})
        assert hear()["code"] == code


def test_groups_are_limited(client):
    ask, hear, _ = client
    for number in range(3):
        ask({"type": "join", "id": number, "group": f"session.c{number}"})
    assert [hear()["type"] for _ in range(3)] == ["joined", "joined", "error"]

"""The chat's server side, spoken to as its page speaks to it."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.servers.client import WsClient

from .conftest import CHAT
from .running import PATIENCE, Example

keys = (f"key-{number:08}" for number in itertools.count())


rooms = (f"room-{number}" for number in itertools.count())


class Room:
    """A room of the chat that only one test knows."""

    def __init__(self, server: Example) -> None:
        self.server = server
        self.name = next(rooms)

    @property
    def path(self) -> str:
        return f"/ws/rooms/{self.name}/"


@pytest.fixture(scope="module")
def server(launch: Callable[..., Example]) -> Example:
    return launch(CHAT)


@pytest.fixture
def room(server: Example) -> Room:
    return Room(server)


class Page:
    """What a page of the chat says and gets to hear."""

    def __init__(self, room: Room, name: str, key: str = "") -> None:
        self.key = key or next(keys)
        self.socket = room.server.connect(room.path)
        self.say("join", name=name, key=self.key)

    def say(self, kind: str, **event: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **event}, ensure_ascii=False))

    def hear(self, kind: str) -> dict[str, Any]:
        """Return the next event of a kind, past those of others."""
        while True:
            event: dict[str, Any] = json.loads(self.socket.recv(PATIENCE))
            if event["type"] == kind:
                return event

    def until(self, kind: str) -> list[str]:
        """Return the kinds of the next events, up to one of a kind."""
        kinds: list[str] = []
        while kind not in kinds:
            kinds.append(json.loads(self.socket.recv(PATIENCE))["type"])
        return kinds

    def closed(self) -> int:
        """Wait for the end and return its code."""
        with contextlib.suppress(ConnectionClosed):  # raised but for 1000 and 1001
            for _ in self.socket:
                pass
        assert self.socket.close_code is not None
        return self.socket.close_code


def enter(room: Room, name: str) -> Page:
    page = Page(room, name)
    page.hear("welcome")
    return page


def test_the_first_page_leads_to_the_lobby(server: Example) -> None:
    assert server.get("/")[0] == 302
    status, page = server.get("/rooms/lobby/")
    assert status == 200
    assert 'data-socket="/ws/rooms/lobby/"' in page
    assert server.get("/rooms/Lobby/")[0] == 302  # to the room's one address
    assert server.get("/rooms/%3Cscript%3E/")[0] == 404
    assert server.get("/ws/rooms/lobby/")[0] == 426
    assert server.get("/static/rooms/chat.js")[0] == 200


def test_members_hear_each_other_and_who_comes_and_goes(room: Room) -> None:
    ana = Page(room, "  Ana   María ")
    welcome = ana.hear("welcome")
    assert (welcome["you"], welcome["people"]) == ("Ana María", ["Ana María"])
    assert {"name": room.name, "people": 1} in welcome["rooms"]
    li = enter(room, "李小龙")
    assert ana.hear("joined")["people"] == ["Ana María", "李小龙"]
    li.say("typing")
    assert ana.hear("typing")["name"] == "李小龙"
    li.say("message", id="message-1", text=" 你好 👋🏽\n<b>")
    for page in (ana, li):
        message = page.hear("message")
        assert message["name"] == "李小龙"
        assert message["text"] == "你好 👋🏽\n<b>"
    li.socket.close()
    assert ana.hear("left")["people"] == ["Ana María"]


def test_rooms_are_apart_and_everybody_sees_which_there_are(room: Room) -> None:
    ana = enter(room, "Ana")
    teahouse = Room(room.server)
    teahouse.name = "茶馆"
    li = enter(teahouse, "Li")
    while {"name": "茶馆", "people": 1} not in ana.hear("rooms")["rooms"]:
        pass
    li.say("message", id="message-1", text="only here")
    li.hear("message")
    ana.say("message", id="message-2", text="only there")
    assert ana.hear("message")["text"] == "only there"
    li.socket.close()
    while any(r["name"] == "茶馆" for r in ana.hear("rooms")["rooms"]):
        pass


def test_a_name_in_use_is_refused_with_a_free_one(room: Room) -> None:
    enter(room, "Ana")
    enter(room, "Ana 2")
    other = Page(room, "aNA")
    refused = other.hear("refused")
    assert (refused["code"], refused["suggestion"]) == ("name-taken", "aNA 3")
    assert other.closed() == 4000


def test_who_comes_back_takes_the_former_place(room: Room) -> None:
    li = enter(room, "Li")
    ana = enter(room, "Ana")
    again = Page(room, "Ana", key=ana.key)
    assert again.hear("welcome")["people"] == ["Li", "Ana"]
    assert ana.closed() == 4001
    again.say("message", id="message-1", text="it is me")
    assert li.hear("joined")["name"] == "Ana"
    # Nothing about leaving, or joining once more.
    assert li.until("message") == ["rooms", "message"]


def test_a_newcomer_sees_the_last_fifty_messages(room: Room) -> None:
    said = 0
    for number in range(10):
        ana = enter(room, f"Ana {number}")
        for _ in range(6):
            said += 1
            ana.say("message", id=f"message-{said}", text=f"text {said}")
            ana.hear("message")
    history = Page(room, "Li").hear("welcome")["history"]
    assert [message["text"] for message in history] == [
        f"text {number}" for number in range(11, 61)
    ]


def test_a_repeated_message_is_confirmed_and_not_shown_again(room: Room) -> None:
    ana, li = enter(room, "Ana"), enter(room, "Li")
    ana.say("message", id="message-1", text="once")
    assert li.hear("message")["text"] == "once"
    ana.say("message", id="message-1", text="once")
    assert ana.hear("confirmed")["id"] == "message-1"
    ana.say("message", id="message-2", text="another")
    assert li.hear("message")["text"] == "another"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "message", "id": "message-1", "text": "x" * 2001}, "message-long"),
        (
            {"type": "message", "id": "message-1", "text": "x\n" * 41 + "x"},
            "message-long",
        ),
        ({"type": "message", "id": "message-1", "text": " \u202e\n"}, "message-empty"),
        ({"type": "message", "id": "message-1", "text": ["x"]}, "message-empty"),
        ({"type": "message", "id": "<b>", "text": "x"}, "bad-request"),
        ({"type": "message", "text": "x"}, "bad-request"),
        ({"type": ["message"]}, "bad-request"),
        ({}, "bad-request"),
        ("text", "bad-request"),
    ],
)
def test_a_wish_that_makes_no_sense_is_answered(
    room: Room, event: object, code: str
) -> None:
    ana = enter(room, "Ana")
    ana.socket.send(json.dumps(event))
    assert ana.hear("error")["code"] == code
    ana.say("message", id="message-2", text="still here")
    assert ana.hear("message")["text"] == "still here"


@pytest.mark.parametrize("wish", ["{", "[" * 9000, b"\xff\xfe", '{"type": "\\ud800"}'])
def test_what_is_not_json_is_answered(room: Room, wish: str | bytes) -> None:
    ana = enter(room, "Ana")
    ana.socket.send(wish)
    assert ana.hear("error")["code"] == "bad-request"


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"name": "", "key": "key-key-key"}, "name-empty"),
        ({"name": 7, "key": "key-key-key"}, "name-empty"),
        ({"name": "\u200d\u3164", "key": "key-key-key"}, "name-empty"),
        ({"name": "x" * 33, "key": "key-key-key"}, "name-long"),
        ({"name": "Ana", "key": "short"}, "bad-request"),
        ({"name": "Ana"}, "bad-request"),
        ([], "name-empty"),
    ],
)
def test_a_page_that_says_nobody_is_not_let_in(
    room: Room, hello: object, code: str
) -> None:
    socket = room.server.connect(room.path)
    socket.send(json.dumps(hello))
    assert json.loads(socket.recv(PATIENCE))["code"] == code


def test_who_is_too_fast_is_told_when_to_go_on(room: Room) -> None:
    ana, li = enter(room, "Ana"), enter(room, "Li")
    for number in range(30):
        ana.say("message", id=f"message-{number:02}", text="fast")
    error = ana.hear("error")
    assert error["code"] == "too-fast"
    assert 0 < error["wait"] < 2
    li.say("message", id="message-of-li", text="in peace")
    while li.hear("message")["name"] != "Li":
        pass


def test_who_vanishes_is_gone_from_the_list(room: Room) -> None:
    ana = enter(room, "Ana")
    hello = json.dumps({"name": "Li", "key": next(keys)})
    room.server.reset_one(room.path, hello)
    assert ana.hear("joined")["name"] == "Li"
    assert ana.hear("left")["people"] == ["Ana"]


@pytest.fixture
def stuck(room: Room) -> Iterator[WsClient]:
    """Return a member of the lobby that never reads."""
    client = WsClient(("127.0.0.1", room.server.port))
    client.open(room.path)
    client.send(json.dumps({"name": "Stuck", "key": next(keys)}))
    client.receive()
    yield client
    client.drop()


def test_who_does_not_read_holds_nobody_up(room: Room, stuck: WsClient) -> None:
    """A member's line is stuck; the others talk on, and it is cut off in the end."""
    li = enter(room, "Li")
    heard: list[str] = []
    for turn in range(400):
        speaker = enter(room, f"Speaker {turn}")
        for number in range(8):
            text = chr(0x1F600) * 2000  # 8 kB of JSON
            speaker.say("message", id=f"message-{turn}-{number}", text=text)
            speaker.hear("message")
            heard += leavers(li)
        speaker.socket.close()
        if "Stuck" in heard:
            break
    assert "Stuck" in heard


def leavers(page: Page) -> list[str]:
    """Read up to the next message; return who has left since the last one."""
    found = []
    while True:
        event = json.loads(page.socket.recv(PATIENCE))
        if event["type"] == "left":
            found.append(event["name"])
        if event["type"] == "message":
            return found

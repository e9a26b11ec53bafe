"""The demo as its users run it; tests/python/contrib has what the chat does."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.client import WsClient
from tests.servers.redis import Redis

from .conftest import CHAT
from .running import PATIENCE, Example

keys = (f"key-{number:08}" for number in itertools.count())
rooms = (f"room-{number}" for number in itertools.count())


class Page:
    """What a page of the chat says and gets to hear."""

    def __init__(self, server: Example, room: str, name: str) -> None:
        self.room = room
        self.key = next(keys)
        self.socket = server.connect("/chat/")
        for frame in entering(room, name, self.key):
            self.socket.send(frame)
        self.id = self.hear("welcome")["id"]
        self.hear("joined")

    def hear(self, kind: str) -> dict[str, Any]:
        """Return the next event of a kind, past those of others."""
        while True:
            frame: dict[str, Any] = json.loads(self.socket.recv(PATIENCE))
            if frame["type"] == kind:
                return frame

    def write(self, text: str, number: str = "message-1") -> None:
        data = {"id": number, "text": text}
        frame = {"type": "publish", "id": 2, "group": f"chat.{self.room}"}
        self.socket.send(json.dumps({**frame, "data": data}))

    def tell(self, wish: str) -> None:
        data = {"chat": wish, "room": self.room}
        self.socket.send(json.dumps({"type": "data", "data": data}))

    def message(self) -> dict[str, Any]:
        data: dict[str, Any] = self.hear("message")["data"]
        return data


def entering(room: str, name: str, key: str) -> list[str]:
    """Return what a page says first."""
    hello = {"chat": "hello", "name": name, "key": key}
    since = {"offset": 0, "epoch": ""}
    join = {"type": "join", "id": 1, "group": f"chat.{room}", "since": since}
    return [json.dumps({"type": "data", "data": hello}), json.dumps(join)]


@pytest.fixture(scope="module")
def server(launch: Callable[..., Example]) -> Example:
    return launch(CHAT)


@pytest.fixture
def room() -> str:
    return next(rooms)


def test_its_own_tests_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "manage.py", "test"],
        cwd=Path(__file__).parents[2] / "examples" / "chat",
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "chatsite.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 6 tests" in done.stderr


def test_the_first_page_leads_to_the_lobby(server: Example) -> None:
    assert server.get("/")[0] == 302
    status, page = server.get("/rooms/lobby/")
    assert status == 200
    assert '<dwebsocket-chat room="lobby" prefix="chat" url="/chat/"' in page
    assert 'address="/rooms/any-room/"' in page
    assert server.get("/rooms/Lobby/")[0] == 302  # to the room's one address
    assert server.get("/rooms/%3Cscript%3E/")[0] == 404
    assert server.get("/chat/")[0] == 426


def test_the_page_finds_all_that_it_names(server: Example) -> None:
    _, page = server.get("/rooms/lobby/")
    found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    assert len(found) > 5
    for path in found:
        assert server.get(path)[0] == 200, path


def test_members_hear_each_other_and_who_comes_and_goes(
    server: Example, room: str
) -> None:
    ana = Page(server, room, "Ana")
    li = Page(server, room, "李小龙")
    assert ana.hear("join")["member"]["info"]["name"] == "李小龙"
    li.write(" 你好 👋🏽\n<b>")
    for page in (ana, li):
        message = page.message()
        assert (message["name"], message["text"]) == ("李小龙", "你好 👋🏽\n<b>")
    li.socket.close()
    assert ana.hear("leave")["member"]["id"] == li.id


def test_who_vanishes_is_gone_from_the_list(server: Example, room: str) -> None:
    ana = Page(server, room, "Ana")
    client = WsClient(("127.0.0.1", server.port))
    client.open("/chat/")
    for frame in entering(room, "Li", next(keys)):
        client.send(frame)
    assert ana.hear("join")["member"]["info"]["name"] == "Li"
    client.reset()
    assert ana.hear("leave")["member"]["info"]["name"] == "Li"


@pytest.fixture
def stuck(server: Example, room: str) -> Iterator[WsClient]:
    """Return a member of the room that never reads."""
    client = WsClient(("127.0.0.1", server.port))
    client.open("/chat/")
    for frame in entering(room, "Stuck", next(keys)):
        client.send(frame)
    yield client
    client.drop()


def test_who_does_not_read_holds_nobody_up(
    server: Example, room: str, stuck: WsClient
) -> None:
    """A member's line is stuck; the others talk on, and it is cut off in the end."""
    li = Page(server, room, "Li")
    gone: list[str] = []
    for turn in range(400):
        speaker = Page(server, room, f"Speaker {turn}")
        for number in range(8):
            # 24 kB of JSON
            speaker.write(chr(0x1F600) * 2000, f"message-{turn}-{number}")
            speaker.hear("ack")
            gone += leavers(li)
        speaker.socket.close()
        if "Stuck" in gone:
            break
    assert "Stuck" in gone


def leavers(page: Page) -> list[str]:
    """Read up to the next message; return who has left since the last one."""
    found = []
    while True:
        frame = json.loads(page.socket.recv(PATIENCE))
        if frame["type"] == "leave":
            found.append(frame["member"]["info"]["name"])
        if frame["type"] == "message":
            return found


@pytest.fixture
def two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Example, Example]]:
    """Return the demo in two processes of gunicorn that share a broker."""
    with contextlib.ExitStack() as stack:
        redis = Redis()
        stack.callback(redis.close)
        monkeypatch.setitem(os.environ, "CHAT_BROKER", redis.url)
        sites = []
        for number in range(2):
            site = CHAT(log=tmp_path / str(number), server="gunicorn-gthread")
            stack.callback(site.kill)
            sites.append(site.start())
        yield sites[0], sites[1]
    for site in sites:
        assert "Traceback" not in site.output(), site.output()


def test_two_processes_are_one_chat(two: tuple[Example, Example], room: str) -> None:
    ana, li = Page(two[0], room, "Ana"), Page(two[1], room, "Li")
    who = ana.hear("join")["member"]["info"]
    assert who["name"] == "Li"
    li.tell("typing")
    assert ana.message() == {"typing": True, **who}
    li.write("said there")
    assert ana.message()["text"] == li.message()["text"] == "said there"
    ana.write("said here", "message-2")
    assert ana.message()["text"] == li.message()["text"] == "said here"

    # Who comes to another process gets what was said, and may not have a name in use.
    noor = Page(two[0], room, "Noor")
    assert [noor.message()["text"] for _ in range(2)] == ["said there", "said here"]
    for frame in entering(room, "Li", "another-key"):
        noor.socket.send(frame)
    assert noor.hear("error")["code"] == "name_taken"

    # A process that is stopped takes its people with it.
    assert two[1].stop() == 0
    assert ana.hear("leave")["member"]["info"] == who

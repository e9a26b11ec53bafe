"""Two servers that share groups over a real broker, each of those there are."""

from __future__ import annotations

import itertools
import json
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.servers.brokers import Broker
from tests.servers.client import WsClient, eventually
from tests.servers.harness import PYTHON, ROOT, Server
from tests.servers.nats import Nats
from tests.servers.pool import Pool
from tests.servers.redis import Redis

KEPT = {"history": 1000, "ttl": 300}


class Page:
    """A client that speaks the protocol, and remembers where it is."""

    def __init__(self, server: Server) -> None:
        self.client: WsClient = server.open("/modern/session")
        self.numbers = itertools.count(1)
        self.early: list[dict[str, Any]] = []
        self.id = self.hear("welcome")["id"]

    def ask(self, kind: str, **fields: Any) -> int:
        number = next(self.numbers)
        self.client.send(json.dumps({"type": kind, "id": number, **fields}))
        return number

    def hear(self, kind: str) -> dict[str, Any]:
        """Return the next frame of a kind; keep others for later."""
        for place, frame in enumerate(self.early):
            if frame["type"] == kind:
                return self.early.pop(place)
        while True:
            frame = json.loads(self.client.receive())
            if frame["type"] == kind:
                return dict(frame)
            self.early.append(frame)

    def has(self, kind: str) -> bool:
        """Return whether a frame of a kind has arrived; take out none."""
        sock = self.client.sock
        while self.client.buffer or select.select([sock], [], [], 0)[0]:
            self.early.append(json.loads(self.client.receive()))
        return any(frame["type"] == kind for frame in self.early)

    def join(self, group: str, since: Any = None, **fields: Any) -> dict[str, Any]:
        self.ask("join", group=group, **({"since": since} if since else {}), **fields)
        return self.hear("joined")

    def publish(self, group: str, data: Any) -> dict[str, Any]:
        self.ask("publish", group=group, data=data)
        return self.hear("ack")

    def messages(self, count: int) -> list[Any]:
        return [self.hear("message")["data"] for _ in range(count)]


@pytest.fixture(params=[Redis, Nats])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Return a server that may be killed."""
    running = request.param()
    yield running
    running.close()


@pytest.fixture
def settings(broker: Broker) -> dict[str, Any]:
    """Return settings that make two sites one."""
    return {
        "INSTALLED_APPS": [
            *("django.contrib.contenttypes", "django.contrib.auth"),
            *("django.contrib.sessions", "dwebsocket"),
        ],
        "DWEBSOCKET": {"BROKER": broker.url, "GROUPS": {"kept.*": KEPT}},
    }


@pytest.fixture
def servers(pool: Pool, settings: dict[str, Any]) -> list[Server]:
    """Return two processes of one site."""
    return [pool.fresh("gunicorn-gthread", settings=settings) for _ in range(2)]


@pytest.fixture
def wspublish(
    servers: list[Server],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the management command."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PYTHON, "-m", "django", "wspublish", *arguments],
            env=servers[0].env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_what_one_process_publishes_reaches_the_other(servers: list[Server]):
    one, two = (Page(server) for server in servers)
    for page in (one, two):
        page.join("plain.x")
    for number in range(50):
        one.publish("plain.x", ["one", number])
        two.publish("plain.x", ["two", number])
    for page in (one, two):
        got = page.messages(100)
        for name in ("one", "two"):
            assert [n for who, n in got if who == name] == list(range(50))


def test_the_management_command_reaches_every_process(servers, wspublish):
    pages = [Page(server) for server in servers]
    for page in pages:
        page.join("plain.y")
        page.join("kept.y")
    for arguments, expected in [
        (["--group", "plain.y", "hello"], "hello"),
        (["--group", "kept.y", "--json", '{"a": [1]}'], {"a": [1]}),
        (["--all", "everybody"], "everybody"),
    ]:
        done = wspublish(*arguments)
        assert done.returncode == 0, done.stderr
        assert "handed to the broker" in done.stdout
        assert [page.messages(1) for page in pages] == [[expected]] * 2
    done = wspublish("--group", "plain.y", "--disconnect", "4005")
    assert done.returncode == 0, done.stderr
    for page in pages:
        assert page.client.read_close().close_code == 4005


def test_the_management_command_says_what_is_wrong(servers, wspublish, broker):
    for arguments, words in [
        (["--group", "x"], "a message is needed"),
        (["--group", "x*", "hi"], "ends in *"),
        (["--group", "x", "--json", "{"], "not JSON"),
    ]:
        done = wspublish(*arguments)
        assert done.returncode != 0
        assert words in done.stderr
    broker.kill()
    done = wspublish("--group", "x", "hi")
    assert done.returncode != 0
    assert "cannot be reached" in done.stderr


def test_members_are_seen_in_all_processes_and_go_with_theirs(servers: list[Server]):
    one, two = (Page(server) for server in servers)
    one.join("plain.who")
    two.join("plain.who")
    event = one.hear("join")
    assert event["member"]["id"] == two.id

    def seen() -> set[str]:
        two.ask("members", group="plain.who")
        return {member["id"] for member in two.hear("members")["members"]}

    # A process that has just joined hears of the others in a moment.
    eventually(lambda: seen() == {one.id, two.id})
    begun = time.monotonic()
    servers[1].worker().kill()
    assert one.hear("leave")["member"]["id"] == two.id
    assert time.monotonic() - begun < 10
    one.ask("members", group="plain.who")
    assert one.hear("members")["count"] == 1


#: Looks on: says "there" when somebody is in the group, "gone" when nobody is any more.
ONLOOKER = """
import time, django
django.setup()
from dwebsocket import hub
group = hub.group("plain.seen")
for word, wanted in [("there", 1), ("gone", 0)]:
    while len(group.members()) != wanted:
        time.sleep(0.05)
    print(word, flush=True)
"""


#: Asks once.
VISITOR = """
import django
django.setup()
from dwebsocket import hub
group = hub.group("plain.seen")
print(len(group.members()), group.count())
"""


def test_a_process_that_has_just_started_knows_who_is_there(servers: list[Server]):
    for server in servers:
        Page(server).join("plain.seen")
    for _ in range(3):
        done = subprocess.run(
            [PYTHON, "-c", VISITOR],
            env=servers[0].env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "2 2\n"


def test_a_process_that_serves_nobody_sees_members_come_and_go(servers: list[Server]):
    Page(servers[0]).join("plain.seen")
    with subprocess.Popen(
        [PYTHON, "-c", ONLOOKER],
        env=servers[0].env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as onlooker:
        try:
            assert onlooker.stdout is not None
            assert onlooker.stdout.readline() == "there\n"
            begun = time.monotonic()
            servers[0].worker().kill()
            assert onlooker.stdout.readline() == "gone\n"
            assert time.monotonic() - begun < 10
        finally:
            onlooker.kill()


def test_a_page_goes_on_in_another_process_where_it_was(servers: list[Server]):
    one, two = (Page(server) for server in servers)
    one.join("kept.on")
    here = two.join("kept.on")
    for number in range(10):
        two.publish("kept.on", number)
    assert one.messages(10) == list(range(10))
    since = {"offset": 4, "epoch": here["epoch"]}
    servers[1].kill()
    back = Page(servers[0])
    joined = back.join("kept.on", since)
    assert (joined["recovered"], joined["missed"], joined["offset"]) == (True, 6, 10)
    one.publish("kept.on", 10)
    assert back.messages(7) == [4, 5, 6, 7, 8, 9, 10]


def test_who_was_left_out_is_left_out_by_another_process_too(servers: list[Server]):
    one, two = (Page(server) for server in servers)
    two.join("kept.out")
    here = one.join("kept.out")
    one.ask("data", data={"group": "kept.out", "data": "from one"})
    assert two.messages(1) == ["from one"]
    two.publish("kept.out", "from two")
    assert one.messages(1) == ["from two"]
    since = {"offset": 0, "epoch": here["epoch"]}
    for was, expected in [([one.id], ["from two"]), ([], ["from one", "from two"])]:
        back = Page(servers[1])
        joined = back.join("kept.out", since, was=was)
        assert (joined["recovered"], joined["missed"]) == (True, len(expected))
        assert back.messages(len(expected)) == expected


def test_members_of_other_processes_can_be_left_out_by_their_ids(servers: list[Server]):
    one, two = (Page(server) for server in servers)
    for group in ("plain.ids", "kept.ids"):
        here = one.join(group)
        two.join(group)
        two.ask("data", data={"group": group, "data": "not one", "exclude": one.id})
        assert two.messages(1) == ["not one"]
        two.ask("data", data={"group": group, "data": "not two", "exclude": two.id})
        assert one.messages(1) == ["not two"]
        one.ask("data", data={"group": group, "data": "to both", "exclude": []})
        for page in (one, two):
            assert page.messages(1) == ["to both"]
    since = {"offset": 0, "epoch": here["epoch"]}
    for server in servers:
        back = Page(server)
        assert back.join("kept.ids", since, was=[one.id])["missed"] == 2
        assert back.messages(2) == ["not two", "to both"]


def test_a_page_that_one_process_has_made_joins_another_without_a_gap(
    servers: list[Server],
):
    one, two = (Page(server) for server in servers)

    def position() -> dict[str, Any]:
        one.ask("data", data={"position": "kept.page"})
        return dict(one.hear("data")["data"])

    start = position()
    assert start["offset"] == 0
    assert start["epoch"]
    two.join("kept.page")
    two.publish("kept.page", "shown")
    made = position()
    assert made == {"offset": 1, "epoch": start["epoch"]}
    two.publish("kept.page", "meanwhile")
    joined = Page(servers[1]).join("kept.page", made)
    assert (joined["recovered"], joined["missed"]) == (True, 1)
    joined = Page(servers[0]).join("kept.page", start)
    assert (joined["recovered"], joined["missed"]) == (True, 2)


def test_the_log_has_a_line_when_the_broker_goes_and_when_it_is_back(
    servers: list[Server], broker: Broker
):
    page = Page(servers[0])
    page.join("kept.log")
    broker.kill()
    where = broker.url.partition("://")[2].partition("/")[0]

    def said(words: str) -> bool:
        lines = servers[0].text().splitlines()
        return any(words in line and where in line for line in lines)

    # While the view goes on.
    eventually(lambda: said("the broker is away: "))
    broker.start()
    page.publish("kept.log", "x")


def test_nothing_is_lost_in_a_history_while_the_broker_is_away(
    servers: list[Server], broker: Broker
):
    one, two = (Page(server) for server in servers)
    for page in (one, two):
        page.join("kept.away")
        page.join("plain.away")
    one.publish("kept.away", "before")
    # The broker may have stored a message that it has not passed on.
    assert one.messages(1) == two.messages(1) == ["before"]
    broker.kill()
    numbers = [one.ask("publish", group="kept.away", data=n) for n in range(20)]
    # What is not kept goes on within the process, and the publisher learns the rest.
    refused = one.ask("publish", group="plain.away", data="local")
    error = one.hear("error")
    assert (error["id"], error["code"]) == (refused, "unavailable")
    assert one.messages(1) == ["local"]
    broker.start()
    assert [one.hear("ack")["id"] for _ in numbers] == numbers
    two.publish("kept.away", "after")
    expected = list(range(20))
    for page in (one, two):
        got = page.messages(len(expected) + 1)
        got.remove("after")
        assert got == expected


@pytest.mark.parametrize("name", ["STOP", "KILL"])
def test_a_group_can_be_joined_again_after_an_outage(
    servers: list[Server], broker: Broker, name: str
):
    one, two = (Page(server) for server in servers)
    one.join("kept.again")
    if name == "STOP":
        with broker.frozen():
            time.sleep(0.5)
    else:
        broker.kill()
        broker.start()
    deadline = time.monotonic() + 30
    while True:
        two.ask("join", group="kept.again")
        frame = json.loads(two.client.receive())
        if frame["type"] == "joined":
            break
        assert frame["code"] == "unavailable"
        assert time.monotonic() < deadline
    two.publish("kept.again", "x")
    assert one.messages(1) == two.messages(1) == ["x"]


def test_under_gevent_nobody_else_waits_for_the_broker(
    pool: Pool, settings: dict[str, Any], broker: Broker
):
    server = pool.fresh("gunicorn-gevent", settings=settings)
    page, other = Page(server), Page(server)
    page.join("kept.frozen")
    for question, group, answer in [
        ("join", "kept.new", "joined"),
        ("publish", "kept.frozen", "ack"),
        ("members", "kept.frozen", "members"),
    ]:
        with broker.frozen():
            page.ask(question, group=group, data="x")
            statuses = [server.get("/ping").status for _ in range(5)]
            other.ask("ping")
            other.hear("pong")
            waits = not page.has(answer)
        assert statuses == [200] * 5
        # Or else the broker has held up nobody, and nothing was tried here.
        assert waits or question == "members"
        page.hear(answer)


TASK = """
import logging, sys
from django.conf import settings
settings.configure(LOGGING_CONFIG=None, DWEBSOCKET={"BROKER": sys.argv[1]})
import django
django.setup()
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(levelname)s %(message)s")
from dwebsocket import push
print(push.to_all("x").broker, flush=True)
sys.stdin.read()
"""


def test_a_task_hears_that_the_broker_is_away_and_that_it_is_back(broker: Broker):
    command = [PYTHON, "-c", TASK, broker.url]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT
    ) as task:
        assert task.stdout is not None
        try:
            assert task.stdout.readline() == "sent\n"
            broker.kill()
            away = task.stdout.readline()
            assert away.startswith("WARNING the broker is away: ")
            assert "the connection has broken" in away
            broker.start()
            back = task.stdout.readline()
            assert back.startswith("INFO the broker is back: ")
            where = broker.url.partition("://")[2].partition("/")[0]
            assert where in away
            assert where in back
            task.communicate(timeout=20)
            assert task.returncode == 0
        finally:
            task.kill()

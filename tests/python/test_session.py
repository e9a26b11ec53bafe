"""The protocol of dwebsocket.js, from the server's side."""

from __future__ import annotations

import json
import time

import pytest
from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.test import override_settings
from websockets.exceptions import ConnectionClosed

from dwebsocket import WebSocketView, hub, session, websocket
from dwebsocket.process.trouble import Repeats
from dwebsocket.session import VALUES, WEIGHT, Refused, Session, _Points, _work

#: 54 KB that Python 3.13 parses, and in which it recurses 9,900 levels deep.
DEEP = '{"a":' * 9_900 + "1" + "}" * 9_900


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
        if data == "bug":
            raise KeyError("the password is 1234")
        if data == "wrong":
            int(data)
        return {"text": data}

    def on_data(self, data):
        self.send_data(["you said", data])


class Patient(Chat):
    rate, burst = 20.0, 3


class Returning(Chat):
    max_groups = Session.max_groups
    # Who is held back at all is held back for long.
    rate = 1.0


class Poor(Chat):
    membership_rate, membership_burst = 20.0, 24


class Few(Chat):
    max_members = 2


class Joined(Chat):
    def on_open(self):
        self.websocket.join("plain")
        hub.group("plain").send_json("hello")


class Wild(Chat):
    patterns = True


@pytest.fixture
def kind():
    """Return the class of the session; tests may say another."""
    return Chat


@pytest.fixture
def client(site, kind):
    @websocket
    def view(request):
        kind(request.websocket, request).run()

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
            assert welcome["version"] == 1
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


def test_a_page_may_name_the_protocol_or_not(site):
    @websocket
    def view(request):
        request.websocket.send(str(request.websocket.subprotocol))
        Session(request.websocket, request).run()

    running = site({"": view})
    for offered, chosen in (
        (None, None),
        (["dwebsocket.v1"], "dwebsocket.v1"),
        (["dwebsocket.v2", "dwebsocket.v1"], "dwebsocket.v1"),
    ):
        with running.connect("", subprotocols=offered) as connection:
            assert connection.recv(10) == str(chosen)
            assert json.loads(connection.recv(10))["type"] == "welcome"


def ends_with_1011(running):
    with running.connect("ws") as connection:
        try:
            assert json.loads(connection.recv(10))["type"] == "welcome"
            pytest.fail(f"the session goes on: {connection.recv(10)}")
        except ConnectionClosed:
            assert connection.close_code == 1011


def test_an_asynchronous_view_is_told_that_a_session_is_not_for_it(site, caplog):
    @websocket
    async def view(request):
        Session(request.websocket, request).run()

    ends_with_1011(site({"ws": view}))
    assert "a Session needs a synchronous view: write 'def'" in caplog.text
    assert caplog.text.count("Error in") == 1


def test_an_asynchronous_class_is_told_that_a_session_is_not_for_it(site, caplog):
    class View(WebSocketView):
        async def on_open(self):
            Session(self.websocket, self.request).run()

    ends_with_1011(site({"ws": View.as_view()}))
    assert "a Session needs a synchronous view: write 'def'" in caplog.text


def test_an_error_that_is_no_messages_fault_ends_the_session(site, caplog):
    @websocket
    def view(request):
        # The second call would end the session in any case.
        strange = iter([None])
        request.websocket.receive = lambda timeout: next(strange)
        Session(request.websocket, request).run()

    ends_with_1011(site({"ws": view}))
    assert "Error in the session" not in caplog.text
    assert "Error in the WebSocket view of /ws" in caplog.text


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
        ({"type": "join", "id": 1, "group": "a\x00b"}, "invalid"),
        ({"type": "join", "id": 1, "group": "\ud800"}, "invalid"),
        ({"type": "join", "id": 1, "group": "session*"}, "forbidden"),
        ({"type": "leave", "id": 1, "group": "\ud800"}, "invalid"),
        ({"type": "leave", "id": 1, "group": 5}, "invalid"),
        ({"type": "members", "id": 1, "group": "\ud800"}, "invalid"),
        ({"type": "join", "id": 1, "group": "x", "since": {}}, "invalid"),
        (
            '{"type":"join","group":"x","since":{"offset":1e9,"epoch":"x"}}',
            "invalid",
        ),
        (
            {"type": "join", "group": "x", "since": {"offset": 1 << 70, "epoch": ""}},
            "invalid",
        ),
        (
            {"type": "join", "group": "x", "since": {"offset": 1, "epoch": "\ud800"}},
            "invalid",
        ),
        ('{"type": "data", "data": NaN}', "invalid"),
        ('{"type": "data", "data": -Infinity}', "invalid"),
        ('{"type": "data", "data": ' + "9" * 5000 + "}", "invalid"),
        ({"type": ["join"]}, "invalid"),
        ('{"type": ' + DEEP + "}", "invalid"),
        ('{"type": "join", "id": ' + DEEP + "}", "invalid"),
        ('{"type": "join", "group": ' + DEEP + "}", "invalid"),
        ('{"type": "join", "group": "x", "since": ' + DEEP + "}", "invalid"),
        ('{"type": "publish", "group": "x", "data": ' + DEEP + "}", "invalid"),
        ('{"type": "data", "data": ' + "[" * 9_900 + "]" * 9_900 + "}", "invalid"),
        ({"type": {"join": 1}}, "invalid"),
        ({"type": True}, "invalid"),
        ({"type": "join", "id": 1, "group": "x", "since": 5}, "invalid"),
        ({"type": "join", "id": 1, "group": "x", "was": "m-1"}, "invalid"),
        ({"type": "join", "id": 1, "group": "x", "was": [1]}, "invalid"),
        ({"type": "join", "id": 1, "group": "secret"}, "forbidden"),
        ({"type": "members", "id": 1, "group": "secret"}, "forbidden"),
        ({"type": "publish", "id": 1, "group": "x", "data": 1}, "forbidden"),
    ],
    ids=lambda value: str(value)[:60].encode(errors="replace").decode(),
)
def test_what_cannot_be_met_is_answered_and_the_connection_stays(
    client, caplog, command, code
):
    ask, hear, _ = client
    ask(command, {"type": "ping"})
    answer = hear()
    assert (answer["type"], answer["code"]) == ("error", code)
    assert answer["message"]
    assert hear() == {"type": "pong"}
    # A client must not be able to fill the log.
    assert "Error in the session" not in caplog.text


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


def test_a_number_that_json_has_no_form_for_is_not_passed_on(client):
    ask, hear, _ = client
    ask({"type": "join", "id": 1, "group": "session.n"})
    assert hear()["type"] == "joined"
    ask('{"type": "publish", "id": 2, "group": "session.n", "data": 1e999}')
    answer = hear()
    assert (answer["id"], answer["code"]) == (2, "invalid")
    assert hub.group("session.n", history=5, ttl=60.0).history() == []


def published(ask, hear, group, data):
    """Join a group, and return the answer to a message with the id 2."""
    ask({"type": "join", "id": 1, "group": group})
    assert hear()["type"] == "joined"
    ask({"type": "publish", "id": 2, "group": group, "data": data})
    return hear()


def test_a_bug_is_logged_and_kept_from_the_client(client, caplog):
    ask, hear, _ = client
    answer = published(ask, hear, "session.bug", "bug")
    assert (answer["id"], answer["code"]) == (2, "failed")
    assert "1234" not in answer["message"]
    ask({"type": "ping"})
    assert hear() == {"type": "pong"}
    assert "Error in the session of /ws" in caplog.text


def test_a_bug_that_all_clients_run_into_is_reported_now_and_then(
    client, monkeypatch, caplog
):
    """After a restart, all of them join again, and again."""
    monkeypatch.setattr(session, "repeats", Repeats())

    def fail(self, group):
        raise KeyError("bug")

    monkeypatch.setattr(Chat, "info", fail)
    told = []
    ask, hear, _ = client

    def note(sender, **kwargs):
        told.append(sender)

    got_request_exception.connect(note)
    try:
        for number in range(30):
            ask({"type": "join", "id": number, "group": f"session.{number}"})
            assert hear()["code"] == "failed"
    finally:
        got_request_exception.disconnect(note)
    found = [one for one in caplog.records if "Error in the sess" in one.getMessage()]
    assert len(found) == len(told) == Repeats.BURST


def test_a_value_error_of_a_hook_is_the_messages_fault(client):
    ask, hear, _ = client
    answer = published(ask, hear, "session.wrong", "wrong")
    assert (answer["id"], answer["code"]) == (2, "invalid")


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
@pytest.mark.parametrize("hook", ["may_join", "info", "group"])
def test_a_database_that_is_away_is_there_again_a_moment_later(
    client, monkeypatch, caplog, error, hook
):
    def away(*args):
        raise error("too many connections for db.example")

    session.away.over()
    ask, hear, _ = client
    with monkeypatch.context() as patch:
        patch.setattr(Chat, hook, away)
        for number in (1, 2):
            ask({"type": "join", "id": number, "group": "session.db"})
            answer = hear()
            assert (answer["id"], answer["code"]) == (number, "unavailable")
            assert "db.example" not in answer["message"]
    # Thousands of clients may try again meanwhile.
    (record,) = (one for one in caplog.records if "db.example" in one.getMessage())
    assert record.levelname == "WARNING"
    ask({"type": "join", "id": 3, "group": "session.db"})
    assert hear()["type"] == "joined"


def test_what_the_broker_says_is_kept_from_the_client(client, monkeypatch, caplog):
    def away(*args, **kwargs):
        raise hub.BrokerError("the broker at 10.0.0.7 is unavailable")

    monkeypatch.setattr(Chat, "may_join", away)
    ask, hear, _ = client
    ask({"type": "join", "id": 1, "group": "session.away"})
    answer = hear()
    assert answer["code"] == "unavailable"
    assert "10.0.0.7" not in answer["message"]
    assert "10.0.0.7" in caplog.text


@pytest.mark.parametrize("kind", [Joined])
def test_a_session_may_join_groups_for_its_client(client):
    ask, hear, _ = client
    ask({"type": "publish", "id": 1, "group": "plain", "data": "hello"})
    assert hear() == {"type": "message", "group": "plain", "data": "hello"}
    assert hear()["data"] == {"text": "hello"}
    assert hear() == {"type": "ack", "id": 1}


@pytest.mark.parametrize(
    ("error", "code", "level"),
    [
        (Refused("forbidden", "not today"), 1008, None),
        (PermissionDenied("not today"), 1008, None),
        (hub.BrokerError("at 10.0.0.7"), 1013, "WARNING"),
        (OperationalError("at 10.0.0.7"), 1013, "WARNING"),
        (KeyError("bug"), 1011, "ERROR"),
    ],
)
def test_a_session_that_cannot_begin_is_closed(
    site, monkeypatch, caplog, error, code, level
):
    """The client is told no more than when another hook fails."""

    def fail(self):
        raise error

    @websocket
    def view(request):
        Chat(request.websocket, request).run()

    session.away.over()
    monkeypatch.setattr(session, "repeats", Repeats())
    monkeypatch.setattr(Chat, "on_open", fail)
    with site({"ws": view}).connect("ws") as connection:
        assert json.loads(connection.recv(10))["type"] == "welcome"
        with pytest.raises(ConnectionClosed):
            connection.recv(10)
        assert connection.close_code == code
        assert "10.0.0.7" not in connection.close_reason
    found = [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")]
    assert [one.levelname for one in found] == ([level] if level else [])
    assert {one.name for one in found} <= {"dwebsocket.session"}


@pytest.mark.parametrize("kind", [Wild])
def test_a_pattern_can_be_allowed(client):
    ask, hear, _ = client
    ask({"type": "join", "id": 1, "group": "wild.*"})
    assert hear()["type"] == "joined"
    assert hub.group("wild.x").send("x").local == 1
    assert hear()["group"] == "wild.x"
    ask({"type": "publish", "id": 2, "group": "wild.*", "data": "x"})
    assert hear()["code"] == "invalid"


@pytest.mark.parametrize("kind", [Patient])
def test_too_many_commands_are_slowed_down_and_none_is_lost(client):
    ask, hear, _ = client
    begun = time.monotonic()
    ask(*({"type": "data", "id": number, "data": number} for number in range(13)))
    assert [hear()["data"][1] for _ in range(13)] == list(range(13))
    # Three at once, ten more at twenty a second.
    assert time.monotonic() - begun > 0.45


@pytest.mark.parametrize("kind", [Returning])
def test_a_client_comes_back_with_all_that_waited(client):
    # What dwebsocket.js keeps: its queue of 256, and as many groups as it may be in.
    ask, hear, _ = client
    groups = [f"back.{number}" for number in range(Returning.max_groups)]
    begun = time.monotonic()
    ask(*({"type": "join", "id": name, "group": name} for name in groups))
    ask(*({"type": "data", "data": number} for number in range(256)))
    joined = [hear() for _ in groups]
    assert [(frame["type"], frame["id"]) for frame in joined] == [
        ("joined", name) for name in groups
    ]
    assert [hear()["data"][1] for _ in range(256)] == list(range(256))
    assert time.monotonic() - begun < 10


def test_the_rate_can_be_without_limit(monkeypatch, client):
    monkeypatch.setattr(Chat, "rate", None)
    ask, hear, _ = client
    ask(*({"type": "ping"} for _ in range(300)))
    assert [hear() for _ in range(300)] == [{"type": "pong"}] * 300


def test_who_joins_again_is_heard_by_nobody_else(client, site):
    ask, hear, _ = client

    @websocket
    def view(request):
        Chat(request.websocket, request).run()

    ask({"type": "join", "id": 1, "group": "again"})
    assert hear()["type"] == "joined"
    with site({"ws": view}).connect("/ws") as other:
        other.recv(10)
        for number in range(20):
            join = {"type": "join", "id": number, "group": "again"}
            other.send(json.dumps(join))
            assert json.loads(other.recv(10))["id"] == number
        assert hear()["type"] == "join"
        ask({"type": "ping"})
        assert hear() == {"type": "pong"}
        other.send(json.dumps({"type": "leave", "id": 1, "group": "again"}))
        assert hear()["type"] == "leave"


@pytest.mark.parametrize("kind", [Poor])
def test_coming_and_going_is_slowed_down(client):
    ask, hear, _ = client
    begun = time.monotonic()
    for number in range(2):
        ask({"type": "join", "id": number, "group": "flap"})
        ask({"type": "leave", "id": number, "group": "flap"})
    assert [hear()["type"] for _ in range(4)] == ["joined", "left"] * 2
    assert time.monotonic() - begun < 0.95
    ask({"type": "join", "id": 3, "group": "flap"})
    assert hear()["type"] == "joined"
    assert time.monotonic() - begun > 0.8


def test_the_price_of_coming_and_going():
    # 1,000 members: an answer of 97 KB, or a join and a leave that all of them hear.
    points = _Points(Session.membership_rate, Session.membership_burst)
    answers = 0
    while not points.spend(1 + 1_000 / 50):
        answers += 1
    assert answers < 25
    assert 0 < points.spend(1 + 1_000 / 50) < 10
    points = _Points(Session.membership_rate, Session.membership_burst)
    # A page that comes back to all of its groups, and asks who is there.
    for _ in range(Session.max_groups):
        assert not points.spend(1)
        assert not points.spend(1 + 50 / 50)
    assert not _Points(None, 1).spend(1_000_000)


@pytest.mark.parametrize("kind", [Few])
def test_an_answer_names_so_many_members_and_counts_all(client, pair):
    ask, hear, _ = client
    others = [pair()[0] for _ in range(3)]
    for other in others:
        other.join("many", presence=True)
    ask({"type": "members", "id": 1, "group": "many"})
    answer = hear()
    assert (answer["count"], len(answer["members"])) == (3, 2)


@pytest.mark.parametrize("kind", [Patient])
def test_a_long_message_to_many_counts_as_several(client):
    ask, hear, _ = client
    ask({"type": "join", "id": 1, "group": "long"})
    hear()
    begun = time.monotonic()
    ask({"type": "publish", "id": 2, "group": "long", "data": "x" * 16 * WEIGHT})
    ask({"type": "ping"})
    while hear()["type"] != "pong":
        pass
    # Sixteen more than the one, at twenty a second.
    assert time.monotonic() - begun > 0.6


@pytest.mark.parametrize("kind", [Patient])
@pytest.mark.parametrize("encode", [json.dumps, lambda data: json.dumps(data).encode()])
@pytest.mark.parametrize("value", [0, [], {}, "a"])
def test_a_message_that_takes_long_to_read_counts_as_several(client, encode, value):
    ask, hear, _ = client
    begun = time.monotonic()
    ask(encode({"type": "data", "data": [value] * 16 * VALUES}))
    ask({"type": "ping"})
    while hear()["type"] != "pong":
        pass
    assert time.monotonic() - begun > 0.6


def test_a_long_text_is_soon_read():
    assert _work("x" * 1_000_000) == _work(b"x" * 1_000_000) == 0
    assert _work("," * 3 * VALUES) == _work(b"," * 3 * VALUES) == 3

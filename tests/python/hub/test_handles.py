"""Groups, as a view uses them."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from django.test import RequestFactory, override_settings

from dwebsocket import WebSocketClosed, _engine, hub
from dwebsocket.hub import handles
from dwebsocket.websocket import endpoint


def test_a_message_reaches_every_member_once(pair):
    members = [pair() for _ in range(3)]
    for websocket, _ in members:
        assert websocket.join("hub.a").recovered is False
        websocket.join("hub.b")
    assert members[0][0].groups == ["hub.a", "hub.b"]
    published = hub.groups("hub.a", "hub.b").send("hello")
    assert (published.local, published.broker, published.dropped) == (3, "none", 0)
    assert hub.group("hub.a").send(b"\x00\xff").local == 3
    for _, peer in members:
        assert peer.message() == "hello"
        assert peer.message() == b"\x00\xff"


def test_members_can_be_left_out(pair):
    (one, first), (two, second) = pair(), pair()
    for websocket in (one, two):
        websocket.join("hub.out")
    assert hub.group("hub.out").send("x", exclude=one).local == 1
    assert hub.group("hub.out").send("x", exclude=[one, two]).local == 0
    assert hub.group("hub.out").send_json({"n": 1}).local == 2
    assert json.loads(first.message()) == {"n": 1}
    assert second.message() == "x"


def test_members_are_left_out_by_their_ids_too(pair):
    (one, first), (two, second) = pair(), pair()
    for websocket in (one, two):
        websocket.join("hub.ids")
    group = hub.group("hub.ids")
    assert group.send("x", exclude=one.member_id).local == 1
    assert group.send("x", exclude=[one, two.member_id]).local == 0
    assert group.send("x", exclude=group.members()).local == 0
    (member,) = [one for one in group.members() if one.id == two.member_id]
    assert group.send("y", exclude=member).local == 1
    # Of another process, or one that has ended.
    assert group.send("z", exclude="00000000000000ff-1").local == 2
    assert [first.message() for _ in range(2)] == ["y", "z"]
    assert [second.message() for _ in range(2)] == ["x", "z"]


def test_who_was_left_out_by_id_misses_it_after_a_reconnect_too(pair):
    group = hub.group("hub.was", history=5)
    was = "00000000000000ff-1"
    group.send("to others", exclude=was)
    group.send("to all")
    websocket, peer = pair()
    websocket.join("hub.was", since=(0, ""), was=[was], history=5)
    assert peer.message() == "to all"


def test_a_page_that_was_made_before_joins_without_a_gap(pair):
    group = hub.group("hub.page", history=5)
    begin = group.position()
    assert begin == (0, "")
    group.send("shown")
    history = group.history()
    position = group.position()
    assert history == [(1, "shown")]
    assert position == history.position
    assert position == hub.Position(offset=1, epoch=position.epoch)
    assert position.epoch
    group.send("meanwhile")
    websocket, peer = pair()
    joined = websocket.join("hub.page", since=position, history=5)
    assert (joined.recovered, joined.missed) == (True, 1)
    assert peer.message() == "meanwhile"
    websocket, peer = pair()
    # From before there was a history: all of it.
    assert websocket.join("hub.page", since=begin, history=5).missed == 2


def test_a_group_without_a_history_has_no_position():
    assert hub.group("hub.nowhere").position() == (0, "")
    assert hub.group("hub.nowhere").history().position == (0, "")
    with pytest.raises(ValueError, match="no common position"):
        hub.groups("hub.a", "hub.b").position()
    assert hub.groups("hub.a", "hub.b").history().position == (0, "")


def test_a_history_that_nobody_keeps_is_not_asked_for(monkeypatch):
    # NATS would make a stream, and Redis a key.
    asked = []

    def history(name, *rest):
        asked.append(name)
        return [(1, "x")], 1, "epoch"

    monkeypatch.setattr(_engine, "history", history)
    assert hub.group("hub.unkept").history() == []
    both = hub.Group(("hub.unkept", "hub.kept"), (hub.Options(), hub.Options(5)))
    assert both.history() == [(1, "x")]
    assert asked == ["hub.kept"]


def test_what_the_engine_gives_says_what_it_is(pair):
    websocket, _ = pair()
    joined = websocket.join("hub.repr", history=5)
    assert repr(joined) == (
        f"Joined(recovered=False, offset=0, epoch='{joined.epoch}', missed=0)"
    )
    published = hub.group("hub.repr").send("x")
    assert repr(published) == (
        "Published(local=1, broker='none', offset=0, epoch='', dropped=0)"
    )
    kept = hub.group("hub.repr", history=5).send("x")
    assert f"offset=1, epoch='{kept.epoch}'" in repr(kept)
    connection = endpoint.of(websocket).connection
    assert repr(connection) == f"<Connection {connection.id} open>"
    assert repr(_engine.Options(max_frame_size=5)).startswith(
        "<Options max_message_size=1048576 max_frame_size=5 "
    )
    assert repr(_engine.reserve(1 << 30)) == "<Permit>"
    queue = _engine.WakeQueue()
    assert repr(queue) == f"<WakeQueue fileno={queue.fileno()}>"


def test_leaving_ends_it(pair):
    websocket, _ = pair()
    websocket.join("hub.leave")
    assert websocket.leave("hub.leave") is True
    assert websocket.leave("hub.leave") is False
    with pytest.raises(TypeError, match="a group's name is a str, not int"):
        websocket.leave(7)
    assert hub.group("hub.leave").send("x").local == 0


def test_a_pattern_hears_of_all(pair):
    websocket, peer = pair()
    websocket.join("hub.many.*")
    assert hub.group("hub.many.\u00e9").send("x").local == 1
    assert peer.message() == "x"
    with pytest.raises(ValueError, match="ends in"):
        hub.group("hub.many.*").send("x")


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 256])
def test_a_bad_name_is_refused(pair, name):
    websocket, _ = pair()
    with pytest.raises(ValueError, match="group's name"):
        websocket.join(name)
    with pytest.raises(ValueError, match="group's name"):
        hub.group(name).send("x")


REQUEST = RequestFactory().get("/")
REQUEST.websocket = None


@pytest.mark.parametrize(
    "exclude",
    [
        "x",
        5,
        [5],
        [None],
        object(),
        REQUEST,
        "12-3",
        "g" * 16 + "-1",
        ["x"],
        b"x",
        (1, 2),
    ],
)
def test_what_is_left_out_must_be_websockets(exclude):
    with pytest.raises(TypeError, match="exclude takes WebSockets"):
        hub.group("hub.out").send("x", exclude=exclude)


@pytest.mark.parametrize("name", [None, 5, b"x", ["x"]])
def test_a_name_is_a_str(pair, name):
    for use in (hub.group, hub.groups, pair()[0].join):
        with pytest.raises(TypeError, match="name is a str"):
            use(name)


@pytest.mark.parametrize(
    ("option", "value"),
    [("history", -1), ("history", 1.5), ("ttl", 0), ("ttl", "9"), ("presence", 1)],
)
def test_a_bad_option_is_named(pair, option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        hub.group("hub.bad", **{option: value})
    with pytest.raises(ValueError, match=f"{option} must be"):
        pair()[0].join("hub.bad", **{option: value})


def test_json_is_what_browsers_take_for_it():
    with pytest.raises(ValueError, match="JSON"):
        hub.group("hub.type").send_json({"a": float("nan")})
    assert hub.group("hub.type").send_json({1, 2}, default=list, cls=None).local == 0


def test_a_reason_is_checked():
    with pytest.raises(ValueError, match="123 bytes"):
        hub.group("hub.type").close(4000, "x" * 124)


def test_what_is_no_message_is_refused():
    with pytest.raises(TypeError, match="send_json"):
        hub.group("hub.type").send({"a": 1})  # type: ignore[arg-type]


def test_a_connection_that_has_ended_joins_nothing(pair):
    websocket, peer = pair()
    peer.drop()
    with pytest.raises(WebSocketClosed):
        websocket.receive(10)
    deadline = time.monotonic() + 10
    with pytest.raises(WebSocketClosed):  # noqa: PT012 - soon, not at once
        while time.monotonic() < deadline:
            websocket.join("hub.ended")
    # The engine's thread takes it out of its groups just behind its end.
    while hub.group("hub.ended").count() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert hub.group("hub.ended").count() == 0


def test_members_see_one_another(pair):
    (one, peer), (two, _) = pair(), pair()
    one.join("hub.who", info={"name": "Ada"}, envelope=True)
    two.join("hub.who", info={"name": "Bob"})
    members = hub.group("hub.who").members()
    assert sorted(member.info["name"] for member in members) == ["Ada", "Bob"]
    assert {member.id for member in members} == {one.member_id, two.member_id}
    assert hub.group("hub.who").count() == 2
    event = json.loads(peer.message())
    assert event["type"] == "join"
    assert event["member"] == {"id": two.member_id, "info": {"name": "Bob"}}


@pytest.mark.parametrize(
    ("joined", "presence", "expected"),
    [
        ("hub.frames", True, ["join", "message", "leave"]),
        ("hub.frames", False, ["message"]),
        ("hub.fra*", True, ["message"]),
    ],
)
def test_a_plain_view_with_envelopes_hears_of_members(pair, joined, presence, expected):
    (one, peer), (two, _), (hidden, _) = pair(), pair(), pair()
    one.join(joined, presence=presence, envelope=True)
    hidden.join("hub.frames", presence=False)
    two.join("hub.frames", info="Bob")
    hub.group("hub.frames").send("hello")
    hidden.leave("hub.frames")
    two.leave("hub.frames")
    one.join("hub.end", envelope=True)
    hub.group("hub.end").send("the end")
    frames = []
    while not frames or frames[-1]["group"] != "hub.end":
        frames.append(json.loads(peer.message()))
    assert [frame["type"] for frame in frames[:-1]] == expected
    assert {frame["group"] for frame in frames[:-1]} == {"hub.frames"}


def test_a_history_gives_back_what_was_missed(pair):
    websocket, peer = pair()
    group = hub.group("hub.past", history=3, ttl=60)
    start = websocket.join("hub.past", history=3, ttl=60)
    websocket.leave("hub.past")
    published = [group.send(str(number)) for number in range(3)]
    assert [each.offset for each in published] == [1, 2, 3]
    joined = websocket.join(
        "hub.past", history=3, ttl=60, since=(start.offset, start.epoch)
    )
    assert (joined.recovered, joined.missed, joined.offset) == (True, 3, 3)
    assert [peer.message() for _ in range(3)] == ["0", "1", "2"]
    assert group.history() == [(1, "0"), (2, "1"), (3, "2")]
    assert group.history(1) == [(3, "2")]
    group.send("3")
    late = websocket.join("hub.past", history=3, ttl=60, since=(0, start.epoch))
    assert late.recovered is False


def test_who_was_left_out_is_left_out_after_a_reconnect(pair):
    (drawing, _), (page, _), (again, peer) = pair(), pair(), pair()
    start = drawing.join("hub.again", history=9)
    group = hub.group("hub.again", history=9)
    group.send("drawn", exclude=drawing)
    group.send("seen by all", exclude=page)
    joined = again.join(
        "hub.again",
        history=9,
        since=(start.offset, start.epoch),
        was=[drawing.member_id],
    )
    assert (joined.recovered, joined.missed, joined.offset) == (True, 1, 2)
    assert peer.message() == "seen by all"


def test_an_info_that_is_too_large_is_refused(pair):
    websocket, _ = pair()
    # The JSON has two quotes more.
    websocket.join("hub.info", info="x" * 65_534)
    with pytest.raises(ValueError, match="at most 65536 bytes as JSON, not 65537"):
        websocket.join("hub.info", info="x" * 65_535)
    assert [len(member.info) for member in hub.group("hub.info").members()] == [65_534]


@pytest.mark.parametrize("info", [{"a": 10**300}, "deep", "deeper"])
def test_an_info_that_not_everybody_can_read_is_refused(pair, info):
    if isinstance(info, str):
        levels, info = {"deep": 65, "deeper": 900}[info], {}
        for _ in range(levels - 1):
            info = {"a": info}
    websocket, _ = pair()
    with pytest.raises(ValueError, match="deeper than 64 levels, or .* 300 digits"):
        websocket.join("hub.strange", info=info)
    assert websocket.groups == []


def test_half_a_character_in_an_info_hides_nothing_else(pair):
    websocket, _ = pair()
    websocket.join("hub.half", info={"name": "\ud83d", "\udc00": "\ud83d\ude00\xe9"})
    (member,) = hub.group("hub.half").members()
    assert member.info == {"name": "\ufffd", "\ufffd": "\U0001f600\xe9"}


def test_a_position_is_a_pair_however_it_was_kept(pair):
    group = hub.group("hub.pair", history=5)
    group.send("x")
    position = group.history().position
    # As a session or a page gives it back.
    for since in (position, tuple(position), list(position)):
        websocket, _ = pair()
        assert websocket.join("hub.pair", since=since, history=5).recovered
    websocket, _ = pair()
    joined = websocket.join("hub.pair", since=(2**62, position.epoch), history=5)
    assert (joined.recovered, joined.offset) == (False, 1)


@pytest.mark.parametrize(
    ("since", "error", "what"),
    [
        (3, TypeError, "since is an offset and an epoch"),
        ((1,), TypeError, "since is an offset and an epoch"),
        ({"offset": 1, "epoch": "a"}, TypeError, "since is an offset and an epoch"),
        ("1a", TypeError, "since is an offset and an epoch"),
        (("1", "a"), TypeError, "an offset is a whole number, not str"),
        ((True, "a"), TypeError, "an offset is a whole number, not bool"),
        ((1, None), TypeError, "an epoch is a str, not NoneType"),
        ((-1, ""), ValueError, "an offset is a number from 0"),
        ((1 << 63, ""), ValueError, "an offset is a number from 0"),
    ],
)
def test_what_is_no_position_is_refused(pair, since, error, what):
    websocket, _ = pair()
    with pytest.raises(error, match=what):
        websocket.join("hub.a", since=since)


def test_one_former_id_is_one(pair):
    group = hub.group("hub.former", history=5)
    was = "00000000000000ff-1"
    group.send("to others", exclude=was)
    group.send("to all")
    websocket, peer = pair()
    websocket.join("hub.former", since=(0, ""), was=was, history=5)
    assert peer.message() == "to all"
    with pytest.raises(TypeError, match="member ids, which are str, not None"):
        websocket.join("hub.former", was=[None])


@pytest.mark.parametrize(
    ("call", "error", "what"),
    [
        (lambda: hub.occupied(1), TypeError, "a prefix is a str, not int"),
        (lambda: hub.group("a").history(-1), ValueError, "at least 0, not -1"),
        (lambda: hub.group("a").history("5"), TypeError, "whole number, not str"),
        (lambda: hub.group("a").history(True), TypeError, "whole number, not bool"),
        (lambda: hub.group("a").close("1000"), TypeError, "whole number, not str"),
        (lambda: hub.group("a").close(1.0), TypeError, "whole number, not float"),
    ],
)
def test_an_argument_that_is_wrong_is_named(call, error, what):
    with pytest.raises(error, match=what):
        call()


def test_a_limit_may_be_larger_than_any(pair):
    group = hub.group("hub.limit", history=5)
    group.send("x")
    assert group.history(10**30) == [(1, "x")]
    assert group.history(0) == []


def test_what_is_too_long_for_a_name_is_not_remembered():
    handles._options.clear()
    for length in (255, 256, 1 << 20):
        with contextlib.suppress(ValueError):
            hub.group("x" * length).send("x")
    assert [len(name) for name in handles._options] == [255]


def test_who_is_in_several_groups_counts_once(pair):
    (one, _), (two, _) = pair(), pair()
    one.join("hub.count.a", info=1)
    one.join("hub.count.b", info=2)
    two.join("hub.count.b", info=3)
    both = hub.groups("hub.count.a", "hub.count.b")
    assert both.count() == 2
    assert [member.info for member in both.members()] == [1, 3]
    assert hub.groups().count() == 0
    two.join("hub.count.c", presence=False)
    assert hub.groups("hub.count.a", "hub.count.c").count() == 2


class TestSettings:
    def test_each_of_several_groups_keeps_its_own(self, pair):
        groups = {"own.two": {"history": 2}, "own.five": {"history": 5}}
        with override_settings(DWEBSOCKET={"GROUPS": groups}):
            websocket, peer = pair()
            names = ("own.none", "own.two", "own.five")
            for name in names:
                websocket.join(name)
            several = hub.groups(*names)
            for number in range(4):
                # Once for what is not kept, and once for each that is.
                assert several.send(str(number)).local == 3
            assert [entry[1] for entry in several.history()] == [*"23", *"0123"]
            assert hub.group("own.none", history=9).history() == []
            assert [peer.message() for _ in range(12)] == [*"000111222333"]

    def test_the_longest_prefix_decides_and_arguments_go_before_it(self):
        groups = {
            "chat.*": {"history": 5},
            "chat.vip.*": {"history": 50, "ttl": 9.0},
            "chat.off": {"presence": False},
        }
        with override_settings(DWEBSOCKET={"GROUPS": groups}):
            assert hub.options("chat.1") == hub.Options(history=5)
            assert hub.options("chat.vip.1") == hub.Options(50, 9.0)
            assert hub.options("chat.off") == hub.Options(presence=False)
            assert hub.options("other") == hub.Options()
            assert hub.group("chat.1", history=7, ttl=1.0).options == (7, 1.0, True)
        assert hub.options("chat.1") == hub.Options()


class TestStats:
    def test_what_there_is_is_counted(self, pair, quiet):
        before = hub.stats()
        assert before.broker == "none"
        (one, _), (two, _) = pair(), pair()
        for websocket in (one, two):
            websocket.join("stats.a")
        one.join("stats.b")
        endpoint.of(one).connection.identify("stats-user")
        endpoint.of(two).connection.identify("stats-user")
        after = hub.stats()
        names = ("connections", "memberships", "users", "waiting", "lost")
        found = [getattr(after, name) - getattr(before, name) for name in names]
        assert found == [2, 3, 1, 0, 0]
        # Others may be forgotten meanwhile, with their histories.
        assert after.groups >= 2

    def test_what_was_dropped_is_counted_also_after_the_end(self, pair, quiet):
        before = hub.stats().dropped
        websocket, peer = pair(tcp=True, engine={"overflow": "drop_newest"})
        websocket.join("stats.full")
        dropped = 0
        while dropped < 10:
            dropped += hub.group("stats.full").send(b"x" * 100_000).dropped
        assert hub.stats().dropped - before == 10
        open_now = hub.stats().connections
        peer.reset()
        while hub.stats().connections >= open_now:
            time.sleep(0.001)
        assert hub.stats().dropped - before == 10

"""The chat's server side, spoken to as its page speaks to it."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.template import engines
from django.test import RequestFactory, override_settings
from django.urls import NoReverseMatch, include, path
from websockets.exceptions import ConnectionClosed

from dwebsocket import conf, hub, runners
from dwebsocket.contrib import chat
from dwebsocket.contrib.chat import checks, rooms, text, urls, views
from dwebsocket.contrib.chat.session import ChatSession
from dwebsocket.logins import rights
from dwebsocket.session import Refused

from .conftest import Page, cookie_of

keys = (f"key-{number:012}" for number in itertools.count())
names = (f"room-{number}" for number in itertools.count())

GUESTS = "dwebsocket.contrib.chat.Guests"


class Rules(chat.Guests):
    """Rooms that end in ...: hidden, closed, read-only."""

    def may_see(self, room):
        return not room.endswith("hidden") or "all" in self.request.GET

    def may_join(self, room):
        return not room.endswith("closed")

    def may_write(self, room):
        return not room.endswith("silent")

    def message(self, room, text):
        if "damn" in text:
            raise Refused("impolite", "please be kind")
        return text.replace("heck", "h***")


@pytest.fixture
def serve(site):
    """Return a function that opens a page's connection to a chat with such settings."""
    stack = contextlib.ExitStack()
    running = []

    def visit(user=None, query="", **settings):
        if not running:
            settings = {"CHAT": {"PERMISSIONS": GUESTS, **settings}}
            running.append(site({"chat": views.socket}, DWEBSOCKET=settings))
        headers = cookie_of(user) if user else {}
        connection = running[0].connect(f"chat{query}", additional_headers=headers)
        return Visitor(stack.enter_context(connection))

    with stack:
        yield visit
    # Those who watch the rooms hear of everybody's going: not in the next test.
    assert runners.join(20)


@pytest.fixture
def room():
    return next(names)


class Visitor(Page):
    """A page of the chat."""

    def hello(self, name, key=None):
        self.key = key or next(keys)
        self.data(chat="hello", name=name, key=self.key)
        return self

    def join(self, room, since=None):
        self.say(type="join", id="join", group=f"chat.{room}", since=since)
        return self

    def enter(self, room, name):
        """Join a new room, which is to succeed."""
        self.hello(name).join(room, {"offset": 0, "epoch": ""}).hear("joined")
        return self.settle()

    def settle(self):
        """Wait until the server is done, so that everybody sees who is there."""
        self.say(type="ping")
        self.hear("pong")
        return self

    def write(self, room, words, number="message-1"):
        data = {"id": number, "text": words}
        self.say(type="publish", id="write", group=f"chat.{room}", data=data)

    def told(self, kind):
        """Return the next thing of a kind that the application says."""
        while (data := self.hear("data")["data"])["chat"] != kind:
            pass
        return data

    def message(self):
        return self.hear("message")["data"]


def test_people_hear_each_other_and_who_comes_and_goes(serve, room):
    ana = serve().enter(room, "  Ana   María ")
    li = serve().enter(room, "李小龙")
    info = ana.hear("join")["member"]["info"]
    assert info["name"] == "李小龙"
    assert chat.people(room) == ["Ana María", "李小龙"]
    li.data(chat="typing", room=room)
    assert ana.message() == {"typing": True, **info}
    li.write(room, " 你好 👋🏽\r\n<b>")
    for page in (ana, li):
        message = page.message()
        assert abs(message.pop("at") / 1000 - time.time()) < 60
        assert message == {"id": "message-1", "text": "你好 👋🏽\n<b>", **info}
    assert li.hear("ack")["offset"] == 1
    li.connection.close()
    assert ana.hear("leave")["member"]["info"] == info


def test_a_newcomer_gets_what_was_said_and_no_typing(serve, room):
    ana = serve(HISTORY=3).enter(room, "Ana")
    for number in range(5):
        ana.write(room, f"text {number}", f"message-{number}")
        ana.data(chat="typing", room=room)
    ana.say(type="ping")
    ana.hear("pong")
    li = serve().hello("Li").join(room, {"offset": 0, "epoch": ""})
    expected = [f"text {number}" for number in (2, 3, 4)]
    assert [li.message()["text"] for _ in range(3)] == expected
    li.data(chat="history", room=room)
    told = li.told("history")["messages"]
    assert [message["text"] for message in told] == expected
    assert chat.history(room, 2) == told[1:]


def test_a_chat_may_have_no_memory(serve, room):
    ana = serve(HISTORY=0).enter(room, "Ana")
    ana.write(room, "gone")
    assert ana.message()["text"] == "gone"
    assert chat.history(room) == []


def test_the_page_learns_who_it_is_and_stays_that_after_a_reconnect(serve, room):
    ana = serve().hello("Ana").join(room)
    you = ana.told("you")
    assert (you["room"], you["name"]) == (room, "Ana")
    again = serve().hello("Ana", ana.key).join(room)
    assert again.told("you") == you
    other = serve().hello("Bob").join(room)
    assert other.told("you")["who"] != you["who"]
    other.settle()
    assert sorted(chat.people(room)) == ["Ana", "Bob"]


class Nameless(chat.Guests):
    def asks_name(self):
        return False

    def name(self, room, wanted):
        return "guest"


def test_nobody_can_compute_a_guest_s_mark(serve, room):
    one = serve(PERMISSIONS=f"{__name__}.Nameless")
    mark = one.join(room).told("you")["who"]
    two = serve().hello("two", one.welcome["id"]).join(room)
    assert two.told("you")["who"] != mark
    public = one.welcome["id"]
    assert mark != hashlib.sha256(public.encode()).hexdigest()[:20]
    assert serve().join(room).told("you")["who"] != mark


def test_a_key_that_is_a_user_s_primary_key_is_not_that_user(serve, room, make_user):
    user = make_user("ana").__class__.objects.create_user("li", pk=12345678)
    mark = serve(user).join(room).told("you")["who"]
    page = serve().hello("me", "12345678").join(room)
    assert page.told("you")["who"] != mark


def test_who_joins_again_tells_nobody(serve, room):
    watcher = serve()
    watcher.data(chat="rooms")
    watcher.told("rooms")
    ana = serve().enter(room, "Ana")
    assert watcher.message() == {"chat": "rooms"}
    li = serve().enter(room, "Li")
    assert watcher.message() == {"chat": "rooms"}
    assert ana.hear("join")["member"]["info"]["name"] == "Li"
    for _ in range(5):
        li.join(room).hear("joined")
    li.settle()
    for page in (ana, watcher):
        page.say(type="ping")
        assert page.next() == {"type": "pong"}
    # Another name is news for those in the room.
    li.hello("Mo", li.key).join(room).hear("joined")
    assert ana.hear("leave")["member"]["info"]["name"] == "Li"
    assert ana.hear("join")["member"]["info"]["name"] == "Mo"


def test_a_name_that_is_refused_leaves_the_old_one(serve, room):
    serve().enter(room, "Ana")
    li = serve().enter(room, "Li")
    li.hello("Ana", li.key).join(room)
    assert li.hear("error")["code"] == "name_taken"
    li.write(room, "still here")
    assert li.message()["name"] == "Li"


class Writers(chat.Permissions):
    def may_write(self, room):
        return self.user.has_perm("auth.add_user")


def test_a_right_that_was_taken_away_is_gone_a_moment_later(
    serve, room, make_user, monkeypatch
):
    monkeypatch.setitem(conf.DEFAULTS, "USER_MAX_AGE", 0.0)
    ana = make_user("ana")
    ana.user_permissions.add(Permission.objects.get(codename="add_user"))
    page = serve(ana, PERMISSIONS=f"{__name__}.Writers").join(room)
    page.hear("joined")
    page.write(room, "hello")
    page.hear("ack")
    ana.user_permissions.clear()
    page.write(room, "hello again", "message-2")
    assert page.hear("error")["code"] == "forbidden"


TAKEN = {
    "deactivated": lambda user: user.__class__.objects.update(is_active=False),
    "deleted": lambda user: user.delete(),
    "password": lambda user: (user.set_password("x"), user.save()),
    "logged out": lambda user: Session.objects.all().delete(),
}


@pytest.mark.parametrize("what", TAKEN)
@pytest.mark.parametrize("says", [False, True])
def test_who_may_not_stay_is_hung_up_on(
    serve, room, make_user, monkeypatch, what, says
):
    monkeypatch.setattr(ChatSession, "recheck", 600 if says else 0.2)
    monkeypatch.setitem(conf.DEFAULTS, "USER_MAX_AGE", 0.0)
    ana = make_user("ana")
    page = serve(ana).enter(room, "Ana")
    other = serve().enter(room, "Li")
    TAKEN[what](ana)
    # A user who is deleted is hung up on at once.
    with contextlib.suppress(ConnectionClosed):
        if says:
            page.write(room, "am I here?")
        while page.next()["type"] != "ack":
            pass
        raise AssertionError("it was acknowledged")
    assert page.connection.close_code == 4001
    other.hear("leave")
    other.write(room, "I am")
    other.hear("ack")


def test_a_name_in_use_is_refused_with_a_free_one(serve, room):
    serve().enter(room, "Ana")
    serve().enter(room, "Ana 2")
    other = serve().hello("aNA").join(room)
    assert other.told("suggestion") == {
        "chat": "suggestion",
        "room": room,
        "name": "aNA 3",
    }
    assert other.hear("error")["code"] == "name_taken"
    other.hello("aNA 3", other.key).join(room).hear("joined")


@pytest.mark.parametrize(
    "char",
    ["\u034f", "\ufe00", "\ufe0f", "\u180b", "\u180f", "\u17b4", "\u2065", "\ufff0"]
    + ["\U000e0000", "\U000e0100", "\U000e01ef"],
    ids=ascii,
)
def test_nobody_looks_like_another_by_what_cannot_be_seen(serve, room, char):
    serve().enter(room, "Ana")
    for name in (f"Ana{char}", f"A{char}n{char}a"):
        other = serve().hello(name).join(room)
        assert other.hear("error")["code"] == "name_taken"
    assert text.clean_room(f"lob{char}by{char}") == "lobby"
    assert rooms.room_of(f"chat.lobby{char}") is None


def test_an_emoji_in_a_name_stays_what_it_is(serve, room):
    name = "Ana \u2764\ufe0f\u200d\U0001f525"
    ana = serve().hello(name).join(room)
    assert ana.told("you")["name"] == name


@pytest.mark.parametrize(
    ("length", "name", "free"),
    [
        (32, "A" * 32, "A" * 30 + " 2"),
        (32, "A" * 29 + " BC", "A" * 29 + " 2"),
        (32, "A" * 30, "A" * 30 + " 2"),
        (2, "Al", "2"),
        (1, "A", "2"),
    ],
)
def test_a_free_name_is_not_too_long(serve, room, length, name, free):
    serve(NAME_LENGTH=length).enter(room, name)
    other = serve().hello(name).join(room)
    assert other.told("suggestion")["name"] == free
    other.hello(free, other.key).join(room).hear("joined")


def test_a_full_room_is_closed_but_to_those_who_come_back(serve, room):
    ana = serve(PEOPLE=1).enter(room, "Ana")
    assert serve().hello("Li").join(room).hear("error")["code"] == "room_full"
    serve().hello("Ana", ana.key).join(room).hear("joined")


def test_there_is_an_end_of_rooms(serve, room):
    ana = serve(ROOMS=["lobby"], ROOMS_OPEN=1).enter(room, "Ana")
    li = serve().hello("Li").join(f"{room}-2")
    assert li.hear("error")["code"] == "rooms_full"
    # Who could not come in has no say there.
    li.data(chat="history", room=f"{room}-2")
    assert li.hear("error")["code"] == "forbidden"
    li.join("lobby").hear("joined")
    li.join(room).hear("joined")
    ana.hear("join")


def test_questions_are_answered_now_and_then(serve, room):
    ana = serve().enter(room, "Ana")
    for kind in ("history", "rooms") * 15:
        ana.data(chat=kind, room=room)
    assert ana.hear("error")["code"] == "too_fast"


def test_users_have_their_names_and_marks(serve, room, make_user):
    ana = make_user("ana")
    settings = {"PERMISSIONS": "dwebsocket.contrib.chat.Permissions"}
    first = serve(ana, **settings).join(room)
    you = first.told("you")
    assert you["name"] == "ana"
    assert serve(ana).hello("somebody else").join(room).told("you") == you
    assert serve().hello("guest").join(room).hear("error")["code"] == "forbidden"
    first.write(room, "hello")
    assert first.message()["who"] == you["who"]


def test_guests_and_users_may_meet(serve, room, make_user):
    ana = make_user("ana")
    ana.first_name, ana.last_name = "Ana", "Ruiz" + " Z" * 40
    ana.save()
    assert len(serve(ana).join(room).told("you")["name"]) == 32
    serve().enter(room, "Li")


@pytest.mark.parametrize("ending", ["hidden", "closed"])
def test_permissions_keep_rooms_shut(serve, room, ending):
    page = serve(PERMISSIONS=f"{__name__}.Rules").hello("Ana")
    page.join(f"{room}-{ending}")
    assert page.hear("error")["code"] == "forbidden"
    for data in ({"chat": "history"}, {"chat": "typing"}):
        page.data(**data, room=f"{room}-{ending}")
        assert page.hear("error")["code"] == "forbidden"


def test_permissions_read_along(serve, room):
    page = serve(PERMISSIONS=f"{__name__}.Rules").enter(room, "Ana")
    page.write(room, "damn")
    assert page.hear("error")["code"] == "impolite"
    page.write(room, "heck")
    assert page.message()["text"] == "h***"


def test_permissions_keep_rooms_silent(serve, room):
    room += "-silent"
    page = serve(PERMISSIONS=f"{__name__}.Rules").enter(room, "Ana")
    page.write(room, "hello")
    assert page.hear("error")["code"] == "forbidden"
    page.data(chat="typing", room=room)
    assert page.hear("error")["code"] == "forbidden"


@pytest.mark.parametrize(
    "group",
    ["chat.", "chat.Lobby", "chat.a b", "chat.*", "chat:rooms", "other", "x" * 99],
)
def test_only_rooms_can_be_joined(serve, group):
    page = serve().hello("Ana")
    page.say(type="join", id=1, group=group)
    assert page.hear("error")["code"] in ("forbidden", "invalid")


def test_who_watches_hears_which_rooms_there_are(serve, room):
    hidden = f"{room}-hidden"
    rules = {"PERMISSIONS": f"{__name__}.Rules", "ROOMS": ["lobby"]}
    ana = serve(**rules)
    ana.data(chat="rooms")
    assert counts(ana) == {"lobby": 0}
    serve(query="?all").enter(hidden, "Eve")
    ana.hear("message")
    li = serve().enter(room, "Li")
    ana.hear("message")
    ana.data(chat="rooms")
    assert counts(ana) == {"lobby": 0, room: 1}
    serve().hello("Li", li.key).join(room).hear("joined")
    ana.hear("message")
    ana.data(chat="rooms")
    assert counts(ana) == {"lobby": 0, room: 1}
    li.say(type="leave", id=1, group=f"chat.{room}")
    li.hear("left")
    assert ana.hear("message")["data"] == {"chat": "rooms"}


def counts(page):
    return {each["name"]: each["people"] for each in page.told("rooms")["rooms"]}


def test_pages_that_ask_for_the_listing_share_one_count(serve, room, monkeypatch):
    monkeypatch.setattr(rooms.crowds, "age", 60.0)
    members, counted = rooms.members, []
    monkeypatch.setattr(
        rooms, "members", lambda room: counted.append(room) or members(room)
    )
    pages = [serve() for _ in range(5)]
    for number in (1, 2):
        pages[number].enter(room, f"Ana {number}")
        counted.clear()
        for page in pages:
            page.data(chat="rooms")
        for page in pages:
            assert counts(page)[room] == number
        assert counted.count(room) == 1


def test_a_listing_has_an_end(serve, room):
    page = serve(ROOMS=["a", "b", "c"], ROOMS_LISTED=2).enter(room, "Ana")
    page.data(chat="rooms")
    assert counts(page) == {room: 1, "a": 0}


def test_the_room_is_empty_when_the_page_has_gone(serve, room):
    ana = serve()
    ana.data(chat="rooms")
    ana.told("rooms")
    li = serve().enter(room, "Li")
    ana.hear("message")
    li.connection.close()
    ana.hear("message")
    assert chat.people(room) == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"id": "message-1", "text": "x" * 2001}, "message_long"),
        ({"id": "message-1", "text": "x\n" * 41 + "x"}, "message_long"),
        ({"id": "message-1", "text": " \u202e\n"}, "message_empty"),
        ({"id": "message-1", "text": ["x"]}, "message_empty"),
        ({"id": "<b>", "text": "x"}, "invalid"),
        ({"text": "x"}, "invalid"),
        ("text", "invalid"),
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(serve, room, data, code):
    page = serve().enter(room, "Ana")
    page.say(type="publish", id=1, group=f"chat.{room}", data=data)
    assert page.hear("error")["code"] == code


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"chat": "dance"},
        {"chat": ["hello"]},
        {"chat": "hello", "name": "Ana"},
        {"chat": "hello", "name": "Ana", "key": "short"},
    ],
    ids=str,
)
def test_a_wish_that_makes_no_sense_is_answered(serve, data):
    page = serve()
    page.say(type="data", data=data)
    assert page.hear("error")["code"] == "invalid"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "name_empty"),
        (7, "name_empty"),
        ("\u200d\u3164", "name_empty"),
        ("x" * 33, "name_long"),
    ],
    ids=str,
)
def test_who_says_nobody_is_not_let_in(serve, room, name, code):
    assert serve().hello(name).join(room).hear("error")["code"] == code


def test_one_page_opens_so_many_rooms_and_no_more(serve, room):
    ana = serve().enter(room, "Ana")
    for number in range(1, ChatSession.max_groups):
        ana.join(f"{room}-{number}").hear("joined")
        # She may be in so many at once, too.
        ana.say(type="leave", id="leave", group=f"chat.{room}-{number}")
    assert ana.join(f"{room}-more").hear("error")["code"] == "rooms_full"
    # Where somebody is, she may go in.
    serve().enter(f"{room}-li", "Li")
    ana.join(f"{room}-li").hear("joined")


def test_who_is_too_fast_is_told(serve, room):
    ana, li = serve(RATE=0.01, BURST=3).enter(room, "Ana"), serve().enter(room, "Li")
    for number in range(4):
        ana.write(room, "fast", f"message-{number}")
    assert ana.hear("error")["code"] == "too_fast"
    li.write(room, "in peace", "message-of-li")
    while li.message()["name"] != "Li":
        pass


def test_typing_is_passed_on_now_and_then(serve, room):
    ana, li = serve().enter(room, "Ana"), serve().enter(room, "Li")
    for _ in range(20):
        li.data(chat="typing", room=room)
    li.write(room, "done")
    typings = 0
    while "typing" in ana.message():
        typings += 1
    assert 1 <= typings <= 6


def test_the_site_says_something(serve, room):
    ana = serve().enter(room, "Ana")
    assert chat.say(room, "We close at ten.", name="The house").offset == 1
    message = ana.message()
    assert (message["name"], message["who"]) == ("The house", "")
    with pytest.raises(Refused):
        chat.say(room, "  ", name="x")
    with pytest.raises(ValueError, match="room's name"):
        chat.say("<b>", "x", name="x")


def test_room_names():
    assert text.clean_room(" Tea  House ") == "tea-house"
    assert text.clean_room("茶馆") == "茶馆"
    for bad in ("", "-", "a/b", "<b>", "x" * 33, None):
        with pytest.raises(ValueError, match="room's name"):
            text.clean_room(bad)
    assert rooms.room_of("chat.茶馆") == "茶馆"
    assert rooms.room_of("chat.Tea") is None
    assert text.shown("\u202e") == "?"


def render(room="lobby", request=None, urlconf=f"{__package__}.urls", **attributes):
    request = request or RequestFactory().get("/")
    for name, value in attributes.items():
        setattr(request, name, value)
    template = engines["django"].from_string(
        "{% load dwebsocket_chat %}{% chat_room room %}"
    )
    with override_settings(ROOT_URLCONF=urlconf):
        return template.render({"room": room}, request)


def test_the_tag_shows_a_room():
    html = render("茶馆", user=SimpleNamespace(is_authenticated=True))
    assert '<dwebsocket-chat room="茶馆" prefix="chat" url="/chat/"' in html
    assert " may-join" in html
    assert 'src="/static/dwebsocket/chat/chat.js"' in html
    assert "<textarea" in html
    assert "<dialog" not in html
    # Nothing that a Content-Security-Policy without 'unsafe-inline' would stop.
    assert not any(word in html for word in (" style=", " onclick=", "<style"))
    assert html.count("<script") == html.count('<script type="module" src=') == 1


def test_the_tag_asks_guests_and_shuts_others_out():
    html = render()
    assert " may-join" not in html
    assert "<textarea" not in html
    with override_settings(DWEBSOCKET={"CHAT": {"PERMISSIONS": GUESTS}}):
        assert "<dialog" in render()
    rules = {"PERMISSIONS": f"{__name__}.Rules"}
    with override_settings(DWEBSOCKET={"CHAT": rules}):
        assert render("hidden").strip() == ""
        assert "<textarea" not in render("silent")
    with pytest.raises(ValueError, match="room's name"):
        render("<b>")


class Slugs:
    """URLs whose rooms are slugs."""

    urlpatterns = [
        path("chat/", include("dwebsocket.contrib.chat.urls")),
        path("rooms/<slug:room>/", views.socket, name="room"),
    ]


def test_a_list_leaves_out_rooms_that_the_project_has_no_address_for(pair):
    for name in ("茶馆", "tea-house"):
        websocket, _ = pair()
        websocket.join(f"chat.{name}", info={"name": "Ana", "who": "a"}, history=100)
    template = engines["django"].from_string(
        "{% load dwebsocket_chat %}{% chat_rooms view %}"
    )
    request = RequestFactory().get("/")
    with override_settings(
        ROOT_URLCONF=Slugs, DWEBSOCKET={"CHAT": {"PERMISSIONS": GUESTS}}
    ):
        html = template.render({"view": "room"}, request)
        assert 'href="/rooms/tea-house/"' in html
        assert "茶馆" not in html
        with pytest.raises(NoReverseMatch, match="rom"):
            template.render({"view": "rom"}, request)


def test_the_tag_says_which_urls_are_missing():
    with pytest.raises(
        NoReverseMatch, match=r"include\('dwebsocket.contrib.chat.urls'\)"
    ):
        render(urlconf="tests.urls")


def test_the_address_is_for_websockets():
    assert views.socket(RequestFactory().get("/")).status_code == 426
    assert urls.urlpatterns[0].callback is views.socket


@pytest.mark.parametrize(
    ("section", "code", "message"),
    [
        ({"PERMISIONS": "x"}, "E021", "Did you mean 'PERMISSIONS'?"),
        ({"HISTORY": -1}, "E021", "a whole number of at least 0"),
        ({"MESSAGE_LENGTH": 20_001}, "E021", "from 1 to 20000"),
        ({"PREFIX": "a b"}, "E021", "letters, digits and _"),
        ({"ROOMS": "lobby"}, "E021", "a list of rooms' names"),
        ({"PERMISSIONS": "nowhere.Rules"}, "E022", "nowhere"),
        ({"PERMISSIONS": "json.loads"}, "E022", "a subclass of"),
        ({"ROOMS": ["Lobby"]}, "E023", "'Lobby'"),
        ({"ROOMS": ["<b>"]}, "E023", "'<b>'"),
        ({"HISTORY": 1_000}, "W024", "might not fit"),
    ],
    ids=str,
)
def test_the_settings_are_checked(section, code, message):
    assert checks.check_chat() == []
    with override_settings(DWEBSOCKET={"CHAT": section}):
        found = checks.check_chat()
    assert [each.id for each in found] == [f"dwebsocket.{code}"]
    assert message in found[0].msg


def test_none_of_the_findings_hides_another():
    section = {"NO": 1, "PERMISSIONS": "nowhere.Rules", "ROOMS": ["<b>"]}
    with override_settings(DWEBSOCKET={"CHAT": section, "OUTBOX_BYTES": 0}):
        found = checks.check_chat()
    assert [each.id for each in found] == [
        "dwebsocket.E021",
        "dwebsocket.E022",
        "dwebsocket.E023",
    ]
    with override_settings(DWEBSOCKET=None):
        assert checks.check_chat() == []


def test_the_app_needs_the_packages_own():
    with override_settings(INSTALLED_APPS=["dwebsocket.contrib.chat"]):
        assert [each.id for each in checks.check_chat()] == ["dwebsocket.E029"]
    apps = ["dwebsocket.apps.DwebsocketConfig", "dwebsocket.contrib.chat"]
    with override_settings(INSTALLED_APPS=apps):
        assert checks.check_chat() == []


def test_what_is_kept_is_json(serve, room):
    serve().enter(room, "Ana").write(room, "\ud800 lone")
    deadline = time.monotonic() + 10
    while not chat.history(room) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert json.dumps(chat.history(room))


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "data", "data": {"chat": %s}}',
        '{"type": "data", "data": {"chat": "hello", "name": %s, "key": %s}}',
        '{"type": "data", "data": {"chat": "typing", "room": %s}}',
        '{"type": %s}',
    ],
)
@pytest.mark.parametrize("depth", [1, 100, 9_900])
def test_a_guests_nested_value_is_nothing_but_invalid(serve, text, depth):
    page = serve()
    value = '{"a":' * depth + "1" + "}" * depth
    page.connection.send(text.replace("%s", value))
    page.say(type="ping")
    while (answer := page.next())["type"] != "pong":
        assert answer["type"] in ("welcome", "error")
        assert answer.get("code") in (None, "invalid")


STRANGE = [
    None,
    [],
    "a text",
    {"id": "message-9"},
    {"id": [], "name": "Ana", "who": "x", "text": "hi"},
    {"id": "message-9", "name": 1, "who": {}, "text": "hi"},
]


def test_what_others_send_to_a_room_breaks_nothing(serve, room):
    ana = serve().enter(room, "Ana")
    group = rooms.group(room)
    for message in STRANGE:
        group.send_json(message)
    group.send("no JSON")
    group.send(b"\xff")
    group.send("[" * 100_000)
    ana.write(room, "hello")
    ana.hear("ack")
    assert [one["text"] for one in chat.history(room)] == ["hello"]
    ana.data(chat="history", room=room)
    assert [one["text"] for one in ana.told("history")["messages"]] == ["hello"]


def test_who_comes_into_a_room_past_the_chat_shuts_nobody_out(serve, room, pair):
    for info in (None, [], "a", {"who": [], "name": "x"}, {"who": "x", "name": None}):
        websocket, _ = pair()
        websocket.join(f"chat.{room}", info=info, history=100)
    serve().enter(room, "Ana")
    assert chat.people(room) == ["Ana"]
    assert [one["people"] for one in _listing() if one["name"] == room] == [1]


def _listing():
    return rooms.listing(chat.Guests(RequestFactory().get("/")))


def test_each_tenant_has_rooms_of_its_own(serve, room, pair, monkeypatch):
    names = ["acme"]
    monkeypatch.setattr(rights, "tenant", lambda: names[-1], raising=False)
    with override_settings(DWEBSOCKET={"TENANT": "dwebsocket.logins.rights.tenant"}):
        name = rooms.group_name(room)
        assert rooms.room_of(name) == room
        websocket, _ = pair()
        websocket.join(name, info={"name": "Ana", "who": "a"}, history=100)
        assert chat.people(room) == ["Ana"]
        user = SimpleNamespace(is_authenticated=True)
        prefix = name.removesuffix(f".{room}")
        assert f'prefix="{prefix}"' in render(room, user=user)
        names.append("bolt")
        assert rooms.room_of(name) is None
        assert chat.people(room) == []
        assert all(listed["name"] != room for listed in _listing())
        assert rooms.directory().names != hub.group("chat:rooms").names


MARKS = "\u0301\u0316"


def test_a_text_that_takes_minutes_to_normalize_is_not_looked_at(serve, room):
    ana = serve().enter(room, "Ana")
    longest = "a" + MARKS * 240_000
    started = time.thread_time()
    for clean in (text.clean_name, text.clean_message, text.clean_room):
        with pytest.raises((Refused, ValueError), match="at most"):
            clean(longest)
    assert len(text.shown(longest)) <= 32
    assert len(text.folded(longest)) <= 200
    assert rooms.room_of(f"chat.{longest}") is None
    # It was more than a minute for each.
    assert time.thread_time() - started < 5
    longest = longest[:40_000]  # what fits into a message, escaped
    ana.write(room, longest)
    assert ana.hear("error")["code"] == "message_long"
    ana.hello(longest).join(f"{room}-2")
    assert ana.hear("error")["code"] == "name_long"


def test_one_letter_has_so_many_marks():
    assert text.clean_message("a" + MARKS * 500) == text.clean_message("a" + MARKS * 15)
    # Nor are there more where what stood between them was taken out.
    torn = "\x00".join(MARKS * 500)
    assert text.clean_message(f"a{torn}") == text.clean_message("a" + MARKS * 15)
    # As people write, in as many code points as there can be.
    vietnamese, korean = "Vi\u00ea\u0323t " * 300, "\u1112\u1161\u11ab" * 600
    assert text.clean_message(vietnamese) == ("Vi\u1ec7t " * 300).strip()
    assert text.clean_message(korean) == "\ud55c" * 600


@pytest.mark.parametrize("name", ["A\x00\u0307", "\u0130", "a\u200b\u0301", "\u1e9e"])
def test_a_clean_name_of_a_room_is_clean(name):
    room = text.clean_room(name)
    assert text.clean_room(room) == room
    assert rooms.room_of(rooms.group_name(room)) == room

"""What contrib.chat's room makes of what a server says: with a clock of the test's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dwebsocket.contrib.chat import text

from .fake import Fake
from .page import Page

LOAD = """async () => {
    const names = ["line", "room"];
    window.modules = await Promise.all(names.map((name) => import(`/chat/${name}.js`)));
}"""
OPEN = """() => {
    const [{ lineTo }, { Room }] = modules;
    window.line = lineTo("/ws/");
    window.chat = new Room(line, "lobby", "chat");
    chat.log = [];
    const names = {
        message: ({ message }) => message.text,
        came: ({ person }) => person.name,
        went: ({ person }) => person.name,
        renamed: ({ person, before }) => `${before} to ${person.name}`,
        declined: ({ code }) => code,
        refused: ({ code }) => code,
        ready: () => "",
    };
    for (const [kind, tell] of Object.entries(names)) {
        chat.addEventListener(kind, (event) => chat.log.push([kind, tell(event)]));
    }
    chat.enter("Ada");
}"""
ADA = {"id": "m-1", "info": {"name": "Ada", "who": "a"}}


def person(number: str, name: str = "Li") -> dict[str, Any]:
    return {"id": number, "info": {"name": name, "who": "l"}}


LI = person("m-2")
HISTORY = {"chat": "history", "room": "lobby"}
SHOWN = "chat.log.filter(([kind]) => kind === 'message').map(([, text]) => text)"
TYPING = {"chat": "typing", "room": "lobby"}
IO = {"id": "m-9", "info": {"name": "Io", "who": "i"}}


@pytest.fixture
def page(opened: Callable[..., Page], fake: Fake) -> Page:
    """Return a page in the lobby, in which Ada and Li are."""
    fake.present = [ADA, LI]
    page = opened(clock=True)
    page("void (Math.random = () => 1)")
    page(LOAD)
    page(OPEN)
    ready(page)
    return page


def ready(page: Page, number: int = 1) -> None:
    page.until(f"chat.log.filter(([kind]) => kind === 'ready').length >= {number}")


def tell(page: Page, fake: Fake, kind: str, member: dict[str, Any]) -> None:
    """Have the server say that somebody has come or gone, and wait for the page."""
    here = f"chat.people.some(({{ who }}) => who === '{member['info']['who']}')"
    fake.tell({"type": kind, "group": "chat.lobby", "member": member})
    page.until(here if kind == "join" else f"!{here}")


def after(page: Page, seconds: float) -> None:
    page.page.clock.run_for(round(seconds * 1000))


def live(page: Page, fake: Fake, seconds: float) -> None:
    """Let time pass in which the server shows that it is there."""
    for _ in range(2):
        after(page, seconds / 2)
        # Else the page asks for it, in vain while its clock races on.
        tell(page, fake, "join", IO)
        tell(page, fake, "leave", IO)


def news(page: Page) -> Any:
    """Return what the page has to say of others."""
    kinds = "['came', 'went', 'renamed'].includes(kind)"
    return page(f"chat.log.filter(([kind]) => {kinds})")


def asked(fake: Fake) -> int:
    """Return how often the page has asked for the list of rooms."""
    return sum(each.get("data") == {"chat": "rooms"} for each in fake.received)


def back(page: Page, fake: Fake, number: int = 2) -> None:
    """Wait until a page whose line broke is in the room again."""
    page.until("line.state === 'waiting'")
    after(page, 2.1)
    ready(page, number)


def again(page: Page, number: int) -> None:
    """Let the pause before the next try pass, after as many tries without success."""
    # Not longer: the page's clock must not run on while it connects.
    after(page, 0.5 * 2**number + 0.1)


def waiting(page: Page, fake: Fake) -> dict[str, Any]:
    """Have a page join with a message that waits; return its question who is there."""
    fake.mute = {"members", "data"}
    fake.cut()
    page("chat.say('hello')")
    page.until("line.state === 'waiting'")
    after(page, 2.1)
    return fake.expect("members", 2)


def heard(page: Page, fake: Fake) -> None:
    """Wait until all that was said has been heard, first by the page."""
    page("line.addEventListener('data', ({ data }) => (window.last = data))")
    fake.tell({"type": "data", "data": "last"})
    page.until("window.last === 'last'")
    page("chat.typing()")
    fake.until(lambda: any(each.get("data") == TYPING for each in fake.received))


def test_who_comes_and_who_goes_is_news(page: Page, fake: Fake) -> None:
    tell(page, fake, "leave", LI)
    after(page, 4.9)
    assert news(page) == []
    after(page, 0.2)
    assert news(page) == [["went", "Li"]]
    tell(page, fake, "join", person("m-3"))
    assert news(page) == [["went", "Li"], ["came", "Li"]]


def test_who_is_back_in_a_moment_was_not_away(page: Page, fake: Fake) -> None:
    tell(page, fake, "leave", LI)
    after(page, 3)
    tell(page, fake, "join", person("m-3"))
    after(page, 10)
    assert news(page) == []


def test_who_comes_back_under_another_name_is_the_same(page: Page, fake: Fake) -> None:
    tell(page, fake, "leave", LI)
    tell(page, fake, "join", person("m-3", "Lisa"))
    after(page, 10)
    assert news(page) == [["renamed", "Li to Lisa"]]


@pytest.mark.parametrize("first", ["Ada", "Li"])
def test_that_a_server_stops_is_no_news_of_people(
    page: Page, fake: Fake, first: str
) -> None:
    """It ends one connection after another, and tells those that are left."""
    tell(page, fake, "leave", LI)
    fake.present = [ADA] if first == "Ada" else [ADA, person("m-3")]
    fake.cut()
    back(page, fake)
    if first == "Ada":
        tell(page, fake, "join", person("m-3"))
    after(page, 20)
    assert news(page) == []


def test_after_a_while_who_comes_is_news_again(page: Page, fake: Fake) -> None:
    fake.present = [ADA]
    fake.cut()
    back(page, fake)
    live(page, fake, 32)
    tell(page, fake, "join", person("m-3"))
    assert ["came", "Li"] in news(page)


def test_several_breaks_are_one(page: Page, fake: Fake) -> None:
    fake.present = [ADA]
    fake.cut()
    back(page, fake)
    fake.cut()
    back(page, fake, 3)
    tell(page, fake, "join", person("m-3"))
    assert news(page) == []


def test_what_has_no_answer_is_said_again_and_shown_once(
    page: Page, fake: Fake
) -> None:
    fake.mute = {"publish"}
    page("chat.say('hello')")
    first = fake.expect("publish")
    after(page, 6.1)
    page.until("chat.log.some(([kind, code]) => code === 'timeout')")
    assert page("chat.waiting.map(({ text }) => text)") == ["hello"]
    fake.mute = set()
    after(page, 1.6)
    assert fake.expect("publish", 2)["data"] == first["data"]
    page.until("chat.waiting.length === 0")


def test_what_waits_is_sent_after_what_was_missed(page: Page, fake: Fake) -> None:
    fake.mute = {"publish"}
    page("chat.say('heard')")
    data = fake.expect("publish")["data"]
    page("chat.say('not heard')")
    fake.cut()
    fake.mute = set()
    # It had arrived; only the answer was lost.
    fake.publish("chat.lobby", data)
    back(page, fake)
    page.until("chat.waiting.length === 0")
    said = [each["data"]["text"] for each in fake.received if each["type"] == "publish"]
    assert said == ["heard", "not heard"]
    page.until(f"{SHOWN}.length >= 2")
    assert page(SHOWN) == ["heard", "not heard"]


def test_nothing_that_waits_is_lost_under_another_name(page: Page, fake: Fake) -> None:
    fake.refusals["publish"] = ["too_fast"]
    page("['one', 'two'].forEach((text) => chat.say(text))")
    page.until("chat.log.some(([kind, code]) => code === 'too_fast')")
    fake.refusals["join"] = ["name_taken"]
    page("chat.enter('Li')")
    page.until("chat.log.some(([kind, code]) => kind === 'refused')")
    after(page, 10)
    assert page("chat.waiting.map(({ text }) => text)") == ["one", "two"]
    assert fake.count("publish") == 1
    page("chat.enter('Lisa')")
    ready(page, 2)
    page.until("chat.waiting.length === 0")
    assert [each["data"]["text"] for each in fake.group("chat.lobby").entries] == [
        "one",
        "two",
    ]


@pytest.mark.parametrize(("end", "code"), [(1009, "message_long"), (1006, "failed")])
def test_what_no_connection_survives_is_given_up(
    page: Page, fake: Fake, end: int, code: str
) -> None:
    """It would keep the messages behind it from ever being sent."""
    fake.ends["publish"] = end
    page("['too long', 'short'].forEach((text) => chat.say(text))")
    for number in range(2, 5):
        page.until("line.state === 'waiting'")
        if number == 4:
            del fake.ends["publish"]
        again(page, number - 2)
        ready(page, number)
        declined = page("chat.log.filter(([kind]) => kind === 'declined')")
        assert declined == ([["declined", code]] if number == 4 else [])
    page.until("chat.waiting.length === 0")
    entries = fake.group("chat.lobby").entries
    assert [each["data"]["text"] for each in entries] == ["short"]
    assert fake.count("publish") == 4


def test_a_break_without_blame_is_not_counted(page: Page, fake: Fake) -> None:
    fake.mute = {"publish"}
    page("chat.say('hello')")
    for number in range(1, 5):
        fake.expect("publish", number)
        page("line.retry()")
        ready(page, number + 1)
    assert page("chat.log.some(([kind]) => kind === 'declined')") is False


def test_a_break_is_counted_once(page: Page, fake: Fake) -> None:
    fake.mute = {"publish"}
    page("chat.say('hello')")
    for number in (1, 2):
        # The message is sent again under each name.
        fake.expect("publish", number * 2 - 1)
        page("void chat.enter('Ida')")
        ready(page, number * 2)
        fake.expect("publish", number * 2)
        fake.cut()
        back(page, fake, number * 2 + 1)
    assert page("chat.waiting.map(({ breaks }) => breaks)") == [2]


def test_what_has_arrived_is_not_given_up(page: Page, fake: Fake) -> None:
    fake.ends["publish"] = 1006
    page("chat.say('heard')")
    for number in range(2, 5):
        page.until("line.state === 'waiting'")
        if number == 4:
            # It had arrived; only the answer was lost.
            fake.publish("chat.lobby", fake.expect("publish", 3)["data"])
        again(page, number - 2)
        ready(page, number)
    page.until("chat.waiting.length === 0")
    assert page("chat.log.some(([kind]) => kind === 'declined')") is False


def test_what_was_to_be_sent_later_is_sent_once_after_a_break(
    page: Page, fake: Fake
) -> None:
    fake.refusals["publish"] = ["too_fast"]
    page("chat.say('hello')")
    page.until("chat.log.some(([kind, code]) => code === 'too_fast')")
    fake.cut()
    fake.mute = {"publish"}
    page.until("line.state === 'waiting'")
    page("line.retry()")
    ready(page, 2)
    fake.expect("publish", 2)
    after(page, 1.6)
    # The answer to this comes after all that the page has sent before.
    page("chat.typing()")
    fake.until(lambda: any(each.get("data") == TYPING for each in fake.received))
    assert fake.count("publish") == 2


@pytest.mark.parametrize("late", ["members", "history", "nothing"])
def test_a_room_that_was_left_loses_no_message(
    page: Page, fake: Fake, late: str
) -> None:
    """The server would refuse what it sends, and the panel is not there to tell."""
    message = {"id": "heard", "text": "heard", "who": "l", "name": "Li"}
    fake.forgetful = late != "members"
    question = waiting(page, fake)
    if fake.forgetful:
        fake.until(lambda: any(each.get("data") == HISTORY for each in fake.received))
        fake.tell(question | {"members": fake.present})
    page("chat.leave()")
    fake.expect("leave")
    fake.refusals["publish"] = ["forbidden"]
    if late == "members":
        fake.tell(question | {"members": fake.present})
    elif late == "history":
        fake.tell({"type": "data", "data": HISTORY | {"messages": [message]}})
    else:
        page("line.hold(window)")
        after(page, 6.1)
    heard(page, fake)
    assert fake.count("publish") == 0
    assert page("chat.waiting.map(({ text }) => text)") == ["hello"]
    assert page("chat.log") == [["ready", ""]]


def test_a_room_that_was_left_hears_nothing_of_the_next_one(
    page: Page, fake: Fake
) -> None:
    page("chat.leave()")
    fake.expect("leave")
    page("window.former = chat")
    page(OPEN)
    ready(page)
    tell(page, fake, "join", IO)
    fake.publish("chat.lobby", {"id": "new", "text": "new", "who": "l", "name": "Li"})
    page.until(f"{SHOWN}.length === 1")
    assert page("former.log") == [["ready", ""]]
    assert fake.count("members") == 2


@pytest.mark.parametrize("again", [False, True])
def test_who_leaves_while_the_name_is_changed_is_out(
    page: Page, fake: Fake, again: bool
) -> None:
    fake.mute = {"leave"}
    page("void chat.enter('Ida')")
    changing = fake.expect("leave")
    page("chat.leave()")
    if again:
        page("chat.enter('Lisa')")
        ready(page, 2)
    fake.tell(changing | {"type": "left"})
    heard(page, fake)
    assert fake.count("join") == (2 if again else 1)
    after(page, 5.1)
    assert page("[line.state, line.name]") == (
        ["online", "Lisa"] if again else ["idle", "Ada"]
    )


def test_nothing_is_sent_while_the_name_is_changed(page: Page, fake: Fake) -> None:
    question = waiting(page, fake)
    fake.mute = {"leave"}
    page("void chat.enter('Ida')")
    changing = fake.expect("leave")
    fake.refusals["publish"] = ["forbidden"]
    fake.tell(question | {"members": fake.present})
    heard(page, fake)
    assert fake.count("publish") == 0
    del fake.refusals["publish"]
    fake.tell(changing | {"type": "left"})
    page.until("chat.waiting.length === 0")


def test_another_name_brings_no_message_a_second_time(page: Page, fake: Fake) -> None:
    message = {"id": "heard", "text": "heard", "who": "l", "name": "Li"}
    fake.publish("chat.lobby", message)
    page.until(f"{SHOWN}.length === 1")
    page("chat.enter('Ida')")
    ready(page, 2)
    fake.publish("chat.lobby", message | {"id": "new", "text": "new"})
    page.until(f"{SHOWN}.includes('new')")
    assert page(SHOWN) == ["heard", "new"]
    page("chat.leave()")
    fake.expect("leave", 2)
    page("chat.enter('Ida')")
    ready(page, 3)
    page.until(f"{SHOWN}.length === 4")
    assert page(SHOWN)[2:] == ["heard", "new"]


def test_a_history_that_comes_again_repeats_no_message(page: Page, fake: Fake) -> None:
    message = {"id": "heard", "text": "heard", "who": "l", "name": "Li"}
    fake.publish("chat.lobby", message)
    page.until(f"{SHOWN}.length === 1")
    fake.mute = {"data"}
    fake.tell({"type": "reset", "group": "chat.lobby", "offset": 0, "epoch": "e2"})
    others = [message | {"id": text, "text": text} for text in ("missed", "heard")]
    fake.until(lambda: any(each.get("data") == HISTORY for each in fake.received))
    told = {"chat": "history", "room": "lobby", "messages": others}
    fake.tell({"type": "data", "data": told})
    ready(page, 2)
    assert page(SHOWN) == ["heard", "missed"]


def test_what_waits_does_not_wait_for_the_list_of_people(
    page: Page, fake: Fake
) -> None:
    fake.refusals["members"] = ["invalid"]
    fake.cut()
    page("chat.say('hello')")
    back(page, fake)
    page.until("chat.waiting.length === 0")


def watch_rooms(page: Page, fake: Fake) -> None:
    """Show a list of rooms, and wait until it is up to date."""
    page("line.watchRooms()")
    after(page, 0.1)
    live(page, fake, 1.1)
    fake.until(lambda: asked(fake) == 2)


def change_rooms(page: Page, fake: Fake) -> None:
    """Tell the page that the list of rooms has changed."""
    page("line.heard = false")
    once = "{ once: true }"
    page(f"line.socket.addEventListener('message', () => (line.heard = true), {once})")
    fake.tell({"type": "message", "data": {"chat": "rooms"}})
    page.until("line.heard")


@pytest.mark.parametrize("refused", [False, True])
def test_the_list_of_rooms_is_asked_for_while_it_is_shown(
    page: Page, fake: Fake, refused: bool
) -> None:
    if refused:
        fake.refusals["data"] = ["too_fast"]
    page("line.watchRooms()")
    after(page, 0.1)
    fake.until(lambda: asked(fake) == 1)
    # The answer may have been made before the page could hear of changes.
    live(page, fake, 1)
    fake.until(lambda: asked(fake) == 2)
    live(page, fake, 31)
    fake.until(lambda: asked(fake) == 3)
    page("line.unwatchRooms()")
    live(page, fake, 40)
    page("chat.say('last')")
    fake.expect("publish")
    assert asked(fake) == 3


def test_the_list_of_rooms_is_asked_for_a_second_after_the_last_change(
    page: Page, fake: Fake
) -> None:
    """The answers of a server may be nearly a second old."""
    watch_rooms(page, fake)
    for _ in range(2):
        change_rooms(page, fake)
        after(page, 0.55)
    # It has asked a second after the first change, which is too soon for the other one.
    fake.until(lambda: asked(fake) == 3)
    after(page, 1)
    fake.until(lambda: asked(fake) == 4)
    live(page, fake, 20)
    page("chat.say('last')")
    fake.expect("publish")
    assert asked(fake) == 4


def test_a_clock_that_is_put_forward_delays_no_list_of_rooms(
    page: Page, fake: Fake
) -> None:
    watch_rooms(page, fake)
    page.page.clock.set_system_time(10_000_000)
    assert page("Date.now()") >= 10_000_000
    change_rooms(page, fake)
    after(page, 1.1)
    fake.until(lambda: asked(fake) == 3)


def test_a_second_list_of_rooms_is_filled_at_once(page: Page, fake: Fake) -> None:
    watch_rooms(page, fake)
    live(page, fake, 2)
    page("line.watchRooms()")
    after(page, 0.1)
    fake.until(lambda: asked(fake) == 3)
    page("line.unwatchRooms()")
    after(page, 1.1)
    fake.until(lambda: asked(fake) == 4)


def test_the_line_ends_after_its_last_user_and_begins_with_the_next(
    page: Page, fake: Fake
) -> None:
    """An element that has left the page holds no connection."""
    page("line.watchRooms()")
    page("chat.leave()")
    fake.expect("leave")
    after(page, 5.1)
    heard(page, fake)  # the list of rooms is still shown
    page("line.unwatchRooms()")
    after(page, 4.9)
    assert page("line.state") == "online"
    page("chat.enter('Ada')")
    ready(page, 2)
    after(page, 5.1)
    assert page("line.state") == "online"
    page("chat.leave()")
    fake.expect("leave", 2)
    after(page, 5.1)
    assert page("line.state") == "idle"
    fake.until(lambda: not fake.connections)
    page("chat.enter('Ada')")
    ready(page, 3)
    assert page("line.state") == "online"


def test_who_comes_after_the_end_tries_again(page: Page, fake: Fake) -> None:
    fake.close(4001)
    page.until("line.state === 'stopped'")
    page("chat.leave()")
    assert page("line.state") == "idle"
    page("chat.enter('Ada')")
    ready(page, 2)
    after(page, 5.1)
    assert page("line.state") == "online"


def test_who_tries_by_hand_before_the_first_connection_gets_in(
    opened: Callable[..., Page], fake: Fake
) -> None:
    page = opened(clock=True)
    page("void (Math.random = () => 1)")
    page(LOAD)
    fake.stop()
    page(OPEN)
    page.until("line.state === 'waiting'")
    fake.start()
    page("line.retry()")
    ready(page)


TYPED = [
    " Tea  House ",
    "\u3000Tea\u2003House\t1\n2",
    "\u8336\u9986",
    "\u0e0a\u0e32\u0e40\u0e22\u0e47\u0e19",
    "B\u00fcro_7-a",
    "Bu\u0308ro",
    "\u0395\u0394\u039f\u03a3",
    "\u2460\u2167\u00bd",
    "te\u200ba\ufe0f",
    "a\u200d\u0301",
    "A\x00\u0307",
    "I\u034f\u0307",
    "\u0130" * 16,
    "\u0130" * 17,
    "\U0001d538" * 32,
    "x" * 32,
    "x" * 33,
    "\U000e0041flag",
    "\u2800braille",
    "\ud800a",
    "\ue000a",
    "\ufeffa",
    "a\u2028b",
    "",
    "-",
    "_",
    "\u0301",
    "\u200b",
    "a/b",
    "<b>",
    "a.b",
    "\U0001f409",
    "a\u20dd",
]


def test_a_room_has_the_name_that_the_server_gives_it(
    opened: Callable[..., Page],
) -> None:
    """A page that has another one would open the address of no room."""

    def cleaned(typed: str) -> str:
        try:
            return text.clean_room(typed)
        except ValueError:
            return ""

    # JavaScript reads them, since the driver cannot pass half of a surrogate pair on.
    names = opened()(
        "async (typed) => {"
        " const { roomName } = await import('/chat/rooms.js');"
        " return JSON.parse(typed).map((each) => roomName(each)); }",
        json.dumps(TYPED),
    )
    assert dict(zip(TYPED, names, strict=True)) == {
        typed: cleaned(typed) for typed in TYPED
    }


def test_what_is_not_of_the_chat_is_left_out(page, fake):
    stranger = {"id": "m-5", "info": {"name": "Bot"}}
    nobody = {"id": "m-6", "info": None}
    for member in (stranger, nobody):
        for kind in ("join", "leave"):
            fake.tell({"type": kind, "group": "chat.lobby", "member": member})
    for number, data in enumerate((None, 1, "text", [], {"text": "x"}, {"typing": 1})):
        fake.tell(
            {
                "type": "message",
                "group": "chat.lobby",
                "data": data,
                "offset": number + 1,
                "epoch": "e",
            }
        )
    tell(page, fake, "join", IO)
    after(page, 6)
    assert page("chat.log") == [["ready", ""], ["came", "Io"]]
    assert page("chat.people.map(({ name }) => name)") == ["Ada", "Li", "Io"]

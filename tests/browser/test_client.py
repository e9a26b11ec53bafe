"""dwebsocket.js in Chromium, against a server that does as a test says."""

from __future__ import annotations

import re

import pytest

from .fake import CLIENT, Fake
from .page import Page


def test_the_application_may_say_something_first(page: Page, fake: Fake) -> None:
    page("void make({ hello: () => ({ token: 1 }), backoff: { min: 1, max: 50 } })")
    page.until("socket.state === 'open'")
    page.join()
    fake.cut()
    fake.expect("join", 2)
    kinds = [command["type"] for command in fake.received]
    assert kinds == ["data", "join", "data", "join"]
    assert fake.received[0]["data"] == {"token": 1}


def test_join_publish_and_leave(page: Page, fake: Fake) -> None:
    page.make()
    assert page("[socket.id, socket.url, socket.log]") == [
        "m-1",
        fake.url.replace("http", "ws") + "ws/",
        [["open", {"id": "m-1"}]],
    ]
    assert page.join() == {"recovered": False, "missed": 0}
    assert page("r.send({text: 'hi'})") == {"offset": 1, "epoch": "e1"}
    assert page.expect("r", "message") == {
        "data": {"text": "hi"},
        "group": "chat.1",
        "offset": 1,
        "epoch": "e1",
    }
    assert page("r.position") == {"offset": 1, "epoch": "e1"}
    assert page("r.members()") == [{"id": "m-1", "info": {"name": "Ada"}}]
    page("r.leave()")
    assert page("[r.state, r.position]") == ["out", None]
    fake.publish("chat.1", "unheard")
    assert page("r.join({since: DWebSocket.START})") == {"recovered": True, "missed": 2}
    page.until("heard(r).length === 3")
    assert page("r.position") == {"offset": 2, "epoch": "e1"}


def test_groups_without_a_history_have_no_positions(page: Page, fake: Fake) -> None:
    page.make()
    page.join("plain")
    assert page("r.send(1)") is None
    assert page.expect("r", "message") == {"data": 1, "group": "plain"}
    assert page("r.position") is None
    fake.cut()
    assert page.expect("r", "joined", 2) == {"recovered": False, "missed": 0}
    assert "since" not in fake.expect("join", 2)
    assert "reset" not in page("kinds(r)")


def test_who_comes_and_goes_is_told(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    member = {"id": "m-9", "info": {"name": "Li"}}
    fake.tell({"type": "join", "group": "chat.1", "member": member})
    fake.tell({"type": "leave", "group": "chat.1", "member": member})
    assert page.expect("r", "leave") == {"member": member}
    assert page("kinds(r)") == ["joined", "join", "leave"]


def test_messages_to_users_and_to_everybody_are_the_sockets(
    page: Page, fake: Fake
) -> None:
    page.make()
    page.join()
    fake.tell({"type": "message", "data": {"unread": 3}})
    assert page.expect("socket", "message") == {
        "data": {"unread": 3},
        "group": None,
    }
    # A view has joined this one for the page.
    fake.tell({"type": "message", "group": "news", "data": "b"})
    assert page.expect("socket", "message", 2) == {"data": "b", "group": "news"}
    page("void (window.news = room('news'))")
    fake.tell({"type": "message", "group": "news", "data": "c"})
    assert page.expect("news", "message") == {"data": "c", "group": "news"}
    assert page("heard(r)") == []


def test_bytes_and_data(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    fake.publish("chat.1", "AP8=", encoding="base64")
    assert page.expect("r", "message")["data"] == ["bytes", 0, 255]
    page("socket.send({to: 'the application'})")
    assert page.expect("socket", "data") == {"data": {"to": "the application"}}


def test_a_pattern_hears_its_groups(page: Page, fake: Fake) -> None:
    page.make()
    page.join("chat.*")
    page("void (window.one = room('chat.1'))")
    fake.publish("chat.1", "a")
    assert page.expect("r", "message")["group"] == "chat.1"
    page("one.join()")
    fake.publish("chat.1", "b")
    page.expect("one", "message")
    page("one.leave()")
    fake.publish("chat.1", "c")
    page.expect("r", "message", 3)
    assert page("[heard(r), heard(one)]") == [["a", "b", "c"], ["b"]]


def test_a_pattern_does_not_hear_what_another_group_asks_for(
    page: Page, fake: Fake
) -> None:
    page.make()
    page.join("chat.*")
    page("void (window.one = room('chat.1'))")
    for data in ("a", "b"):
        fake.publish("chat.1", data)
    page.expect("r", "message", 2)
    page("one.join({ since: DWebSocket.START })")
    page.expect("one", "message", 2)
    fake.publish("chat.1", "c")
    page.expect("one", "message", 3)
    assert page("[heard(r), heard(one)]") == [["a", "b", "c"]] * 2


def test_what_was_missed_comes_once_and_in_order(page: Page, fake: Fake) -> None:
    fake.overlap = 2
    page.make()
    page.join()
    for number in range(3):
        fake.publish("chat.1", number)
    page.until("heard(r).length === 3")
    for step in range(3):
        fake.stop()
        assert page.expect("socket", "close", step + 1)["willReconnect"]
        fake.publish("chat.1", 3 + 2 * step)
        fake.start()
        joined = page.expect("r", "joined", step + 2)
        assert joined["recovered"]
        fake.publish("chat.1", 4 + 2 * step)
    page.until("heard(r).length >= 9")
    assert page("heard(r)") == list(range(9))
    assert fake.expect("join", 2)["since"] == {"offset": 3, "epoch": "e1"}
    assert page("socket.log.filter(([kind]) => kind === 'close').length") == 3


def test_who_comes_back_says_who_it_was(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    page("room('plain.1').join()")
    assert "was" not in fake.expect("join")
    for step in range(1, 19):
        fake.stop()
        page.expect("socket", "close", step)
        fake.start()
        page.expect("r", "joined", step + 1)
    joins = [each for each in fake.received if each["type"] == "join"]
    kept = [each["was"] for each in joins if "since" in each]
    assert kept[:2] == [["m-1"], ["m-1", "m-2"]]
    # The latest.
    assert kept[-1] == [f"m-{number}" for number in range(3, 19)]
    assert all("was" not in each for each in joins if each["group"] == "plain.1")
    # Who begins anew wants all of it.
    page("r.leave()")
    page("r.join({since: DWebSocket.START})")
    page.expect("r", "joined", 20)
    assert "was" not in [each for each in fake.received if each["type"] == "join"][-1]


def test_what_is_lost_is_told(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    fake.publish("chat.1", "a")
    page.expect("r", "message")
    # The server that comes back knows nothing of the old history.
    fake.groups["chat.1"].epoch = "e2"
    fake.groups["chat.1"].offset = 0
    fake.cut()
    assert page.expect("r", "reset") == {"position": {"offset": 0, "epoch": "e2"}}
    assert page.expect("r", "joined", 2) == {"recovered": False, "missed": 0}
    fake.publish("chat.1", "b")
    page.until("heard(r).length === 2")
    frame = {"type": "reset", "group": "chat.1", "offset": 7, "epoch": "e3"}
    fake.tell(frame)
    assert page.expect("r", "reset", 2)["position"] == {"offset": 7, "epoch": "e3"}
    fake.cut()
    page.expect("r", "joined", 3)
    assert fake.expect("join", 3)["since"] == {"offset": 7, "epoch": "e3"}


def test_a_replay_that_is_cut_short_goes_on_where_it_ended(
    page: Page, fake: Fake
) -> None:
    for number in range(3):
        fake.publish("chat.1", number)
    page.make()
    entries = fake.groups["chat.1"].entries
    fake.groups["chat.1"].entries = entries[:1]
    page("(window.r = room('chat.1')).join({since: DWebSocket.START})")
    page.until("heard(r).length === 1")
    fake.groups["chat.1"].entries = entries
    fake.cut()
    page.until("heard(r).length === 3")
    assert page("heard(r)") == [0, 1, 2]
    assert fake.expect("join", 2)["since"] == {"offset": 1, "epoch": "e1"}


def test_what_is_sent_meanwhile_waits_in_order(page: Page, fake: Fake) -> None:
    page.make(queue=3)
    page.join()
    fake.stop()
    page.expect("socket", "close")
    for number in range(4):
        page.send(number)
    assert page("fate(r.send('now', {queue: false}))") == ["rejected", "offline"]
    fake.start()
    assert page.fates() == [
        {"offset": 1, "epoch": "e1"},
        {"offset": 2, "epoch": "e1"},
        {"offset": 3, "epoch": "e1"},
        ["rejected", "queue_full"],
    ]
    page.until("heard(r).length === 3")
    assert [each["type"] for each in fake.received[1:]] == ["join", *["publish"] * 3]


def test_nothing_waits_where_nothing_may(page: Page, fake: Fake) -> None:
    page.make(queue=0)
    fake.stop()
    page.expect("socket", "close")
    assert page("fate(room('chat.1').send(1))") == ["rejected", "offline"]
    thrown = "try { socket.send(1) } catch (error) { error.code }"
    assert page(f"eval({thrown!r})") == "offline"


def test_an_answer_that_never_came_is_an_error(page: Page, fake: Fake) -> None:
    fake.mute.add("publish")
    page.make()
    page.join()
    page.send("did it arrive?")
    fake.expect("publish")
    fake.cut()
    lost = {"code": 1006, "reason": "", "willReconnect": True}
    assert page.expect("socket", "close") == lost
    assert page.fates() == [["rejected", "disconnected"]]
    page.expect("r", "joined", 2)
    assert fake.count("publish") == 1


@pytest.mark.parametrize("code", ["forbidden", "invalid", "too_many", "failed"])
def test_refusals_have_types(page: Page, fake: Fake, code: str) -> None:
    fake.refusals = {"join": [code], "publish": [code], "members": [code]}
    page.make()
    page("void (window.r = room('chat.1'))")
    assert page("fate(r.join())") == ["rejected", code]
    assert page.expect("r", "error") == {"error": code, "willRetry": False}
    assert page("r.state") == "out"
    page("r.join()")
    assert page("fate(r.send(1))") == ["rejected", code]
    error = page(
        "r.send(1).then(() => r.members()).catch((e) => ({...e, text: `${e}`}))"
    )
    assert error["code"] == code
    assert error["group"] == "chat.1"
    assert error["text"] == f"DWebSocketError: it is {code}"


def test_who_may_not_come_back_stays_out(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    fake.refusals["join"] = ["forbidden"]
    fake.stop()
    page.expect("socket", "close")
    page.send("too late")
    fake.start()
    assert page.expect("r", "error") == {"error": "forbidden", "willRetry": False}
    assert page.fates() == [["rejected", "forbidden"]]
    fake.cut()
    page.expect("socket", "open", 3)
    page("socket.send('a barrier')")
    fake.expect("data")
    assert fake.count("join") == 2


def test_a_group_that_is_unavailable_is_asked_for_again(page: Page, fake: Fake) -> None:
    fake.refusals["join"] = ["unavailable", "unavailable"]
    page.make()
    page("void (window.r = room('chat.1'))")
    page.send("patient")
    assert page("r.join()") == {"recovered": False, "missed": 0}
    assert page.expect("r", "error", 2) == {"error": "unavailable", "willRetry": True}
    assert fake.count("join") == 3


@pytest.mark.parametrize("code", ["unavailable", "failed"])
def test_a_member_comes_back_although_the_server_fails_at_first(
    page: Page, fake: Fake, code: str
) -> None:
    page.make()
    page.join()
    fake.refusals["join"] = [code, code]
    fake.cut()
    assert page.expect("r", "error", 2) == {"error": code, "willRetry": True}
    page.expect("r", "joined", 2)
    fake.publish("chat.1", "hello again")
    assert page.expect("r", "message")["data"] == "hello again"
    # Who has left is no member: the first refusal is the last.
    page("r.leave()")
    fake.refusals["join"] = ["failed"]
    assert page("fate(r.join())") == ["rejected", "failed"]


def test_errors_that_nobody_asked_for(page: Page, fake: Fake) -> None:
    fake.refusals["data"] = ["forbidden"]
    page.make()
    page("socket.send(1)")
    assert page.expect("socket", "error") == {"error": "forbidden"}
    for frame in ("{", "null", "7", '"x"', '{"type": "later"}', '{"type": "ack"}'):
        fake.tell(frame)
    fake.tell({"type": "joined", "id": 999, "group": "x"})
    fake.tell({"type": "data", "data": "still here"})
    assert page.expect("socket", "data") == {"data": "still here"}
    assert page.expect("socket", "error", 2) == {"error": "protocol"}
    assert page("kinds(socket)") == ["open", "error", "error", "data"]


def test_a_membership_that_the_server_has_ended_is_over(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    fake.tell({"type": "removed", "group": "chat.2"})
    fake.tell({"type": "removed", "group": "chat.1"})
    error = page.expect("r", "error")
    assert error == {"error": "forbidden", "willRetry": False}
    assert page("r.state") == "out"
    # It does not come back with the connection, and may be asked for again.
    fake.cut()
    page.expect("socket", "open", 2)
    assert fake.count("join") == 1
    page.join()
    assert page("r.state") == "joined"


@pytest.mark.parametrize("code", [1008, 4000, 4001, 4099])
def test_some_codes_mean_not_to_come_back(page: Page, fake: Fake, code: int) -> None:
    page.make()
    page.join()
    fake.close(code, "go away")
    assert page.expect("socket", "close") == {
        "code": code,
        "reason": "go away",
        "willReconnect": False,
    }
    assert page("socket.state") == "closed"
    assert page("fate(r.send(1))") == ["rejected", "closed"]
    assert page("fate(r.join())") == ["rejected", "closed"]
    assert page("[left.timers.size, left.listeners]") == [0, 0]
    # After a login, say.
    fake.publish("chat.1", "meanwhile")
    page("socket.open()")
    assert page.expect("r", "joined", 2) == {"recovered": True, "missed": 1}


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4100])
def test_others_do(page: Page, fake: Fake, code: int) -> None:
    page.make()
    fake.close(code)
    assert page.expect("socket", "close")["willReconnect"]
    page.expect("socket", "open", 2)


def test_which_codes_are_final_can_be_said(page: Page, fake: Fake) -> None:
    page("void make({backoff: {min: 1}, isFinal: (code, reason) => reason === 'bye'})")
    page.until("socket.state === 'open'")
    fake.close(4001, "again")
    page.expect("socket", "open", 2)
    fake.close(1000, "bye")
    assert not page.expect("socket", "close", 2)["willReconnect"]


@pytest.mark.parametrize("long", ["Infinity", "2 ** 31"])
def test_times_may_be_longer_than_those_of_a_browser(page: Page, long: str) -> None:
    page(
        """() => {
            window.timers = 0;
            const set = window.setTimeout;
            window.setTimeout = (...all) => { timers += 1; return set(...all); };
        }"""
    )
    backoff = "{ min: 1, max: 50 }"
    page(f"void make({{ timeout: {long}, heartbeat: {long}, backoff: {backoff} }})")
    page.until("socket.state === 'open'")
    assert page(f"socket.call('add', {{ a: 1, b: 2 }}, {{ timeout: {long} }})") == 3
    page("new Promise((done) => setTimeout(done, 100))")
    assert page("kinds(socket)") == ["open"]
    assert page("timers") < 10


def test_close_settles_everything_and_leaves_nothing(page: Page, fake: Fake) -> None:
    fake.mute = {"publish", "members", "join", "leave"}
    page.make()
    page(
        """() => {
        window.r = room("chat.1");
        window.other = room("chat.2");
        window.fates = [
            r.join(), r.send(1), r.send(2), other.send(3), other.members(),
            other.leave(),
        ].map(fate);
    }"""
    )
    fake.expect("leave")
    page("socket.close(4321, 'enough')")
    rejected = [["rejected", code] for code in ("closed", "closed", "closed")]
    lost = [["rejected", "disconnected"]] * 2
    assert page.fates() == [*rejected, *lost, None]
    assert page("[socket.state, r.state, other.state]") == ["closed", "out", "out"]
    assert page("socket.log.at(-1)") == [
        "close",
        {"code": 4321, "reason": "enough", "willReconnect": False},
    ]
    assert page("[left.timers.size, left.listeners]") == [0, 0]
    fake.until(lambda: not fake.connections)
    page("socket.close()")
    assert page("kinds(socket)") == ["open", "close"]


def test_close_while_away(page: Page, fake: Fake) -> None:
    page.make(backoff={"min": 60_000, "max": 60_000})
    page.join()
    fake.cut()
    page.expect("socket", "reconnecting")
    page.send("never")
    page("socket.close()")
    assert page.fates() == [["rejected", "closed"]]
    assert page("[socket.state, left.timers.size, left.listeners]") == ["closed", 0, 0]
    assert page("last(socket, 'close').willReconnect") is False


@pytest.mark.parametrize("code", [1001, 1006, 5000])
def test_a_code_that_is_not_for_pages_closes_nothing(
    page: Page, fake: Fake, code: int
) -> None:
    page.make()
    thrown = f"try {{ socket.close({code}) }} catch (error) {{ error.name }}"
    assert page(f"eval({thrown!r})") == "InvalidAccessError"
    page("socket.send('still here')")
    assert page.expect("socket", "data") == {"data": "still here"}


def test_close_in_an_event_is_the_end(page: Page, fake: Fake) -> None:
    page.make()
    page("socket.addEventListener('close', () => socket.close())")
    fake.cut()
    page.until("socket.state === 'closed'")
    assert page("kinds(socket)") == ["open", "close", "close"]
    assert page("[left.timers.size, left.listeners]") == [0, 0]


def test_leaving_and_joining_at_once(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    fates = page(
        """() => {
        const first = r.leave();
        const again = r.join();
        return Promise.all([first, again, r.send("x")].map(fate));
    }"""
    )
    assert fates == [
        None,
        {"recovered": False, "missed": 0},
        {"offset": 1, "epoch": "e1"},
    ]
    assert page("r.state") == "joined"
    # Left before the answer has come, and while there is no connection.
    fates = page(
        """async () => {
        const other = room("chat.2");
        const joining = fate(other.join());
        const sending = fate(other.send("unsent"));
        await other.leave();
        return [await joining, await sending, other.state];
    }"""
    )
    assert fates == [["rejected", "left"], ["rejected", "left"], "out"]
    fake.stop()
    page.expect("socket", "close")
    page("r.leave()")
    fake.start()
    page.expect("socket", "open", 2)
    page("socket.send('a barrier')")
    fake.expect("data")
    assert fake.count("join") == 3


def test_many_instances(page: Page, fake: Fake) -> None:
    page.make()
    page.join()
    assert page("socket.group('chat.1') === r && r instanceof Group")
    page("void (window.first = socket)")
    page.make()
    page("void (window.second = room('chat.1')); second.join()")
    page("r.send('to both')")
    page.until("heard(r).length === 1 && heard(second).length === 1")
    page("first.close()")
    page("second.send('to one')")
    page.until("heard(second).length === 2")
    assert page("heard(r)") == ["to both"]
    page("socket.close()")
    assert page("[left.timers.size, left.listeners]") == [0, 0]


@pytest.mark.parametrize("relative", ["ws/", "/ws/", "{http}ws/", "{ws}ws/#hash"])
def test_addresses(page: Page, fake: Fake, relative: str) -> None:
    ws = fake.url.replace("http", "ws")
    url = relative.format(http=fake.url, ws=ws)
    page("(url) => void make({protocols: ['chat', 'x']}, url)", url)
    page.until("socket.state === 'open'")
    assert page("socket.url") == f"{ws}ws/"
    assert fake.subprotocols == [["chat", "x", "dwebsocket.v1"]]


@pytest.mark.parametrize(
    ("options", "offered"),
    [
        ("{}", ["dwebsocket.v1"]),
        ("{protocols: []}", ["dwebsocket.v1"]),
        ("{protocols: undefined}", ["dwebsocket.v1"]),
        ("{protocols: null}", []),
        ("{protocols: 'chat'}", ["chat", "dwebsocket.v1"]),
        ("{protocols: ['dwebsocket.v1', 'x']}", ["dwebsocket.v1", "x"]),
    ],
)
def test_the_protocol_is_named_once(
    page: Page, fake: Fake, options: str, offered: list[str]
) -> None:
    page(f"(url) => void make({options}, url)", fake.url.replace("http", "ws") + "ws/")
    page.until("socket.state === 'open'")
    assert fake.subprotocols == [offered]


def test_in_a_worker(page: Page, fake: Fake) -> None:
    page(
        """() => {
        window.said = [];
        window.worker = new Worker("/worker.js", {type: "module"});
        worker.onmessage = (event) => said.push(event.data);
    }"""
    )
    page.until("said.length === 1")
    fake.cut()
    page.until("said.length === 2")
    page("worker.postMessage('from the page')")
    page.until("said.length === 4")
    assert page("said") == [
        ["joined", False],
        ["joined", True],
        ["message", "from the page"],
        ["closed", "closed"],
    ]


def test_in_a_worker_from_a_blob(page: Page, fake: Fake) -> None:
    page(
        """(origin) => {
        const code = `import { DWebSocket } from "${origin}dwebsocket.js";
            const socket = new DWebSocket("/ws/");
            socket.addEventListener("open", () => postMessage(socket.url));`;
        const url = URL.createObjectURL(new Blob([code], {type: "text/javascript"}));
        const worker = new Worker(url, {type: "module"});
        worker.onmessage = (event) => window.said = event.data;
    }""",
        fake.url,
    )
    page.until("window.said")
    assert page("said") == fake.url.replace("http", "ws") + "ws/"


def test_the_types_name_all_there_is(page: Page, fake: Fake) -> None:
    types = CLIENT.with_suffix(".d.ts").read_text()
    names = page(
        "[DWebSocket, Group].flatMap((c) => Object.getOwnPropertyNames(c.prototype))"
    )
    public = {name for name in names if not name.startswith("_")} | {"START"}
    missing = {name for name in public if not re.search(rf"\b{name}\b", types)}
    assert len(public) > 10
    assert missing == set()

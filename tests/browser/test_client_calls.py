"""``call()`` of dwebsocket.js, against a server that does as a test says."""

from __future__ import annotations

from .fake import Fake
from .page import Page

#: Longer than any test.
LONG = "600_000"


def test_a_call_resolves_with_the_reply(page: Page, fake: Fake) -> None:
    page.make()
    assert page("socket.call('add', {a: 1, b: 2})") == 3
    assert fake.expect("add") == {"type": "add", "id": 1, "a": 1, "b": 2}


def test_a_type_and_an_id_in_the_data_do_not_count(page: Page, fake: Fake) -> None:
    page.make()
    assert page("socket.call('add', {a: 1, b: 2, type: 'x', id: 99})") == 3


def test_calls_run_side_by_side_and_get_their_own_replies(
    page: Page, fake: Fake
) -> None:
    page.make()
    calls = "[1, 2, 3].map((n) => socket.call('add', {a: n, b: n}))"
    assert page(f"Promise.all({calls})") == [2, 4, 6]


def test_an_error_rejects_with_the_servers_reason(page: Page, fake: Fake) -> None:
    fake.refusals["add"] = ["invalid"]
    page.make()
    text = "socket.call('add').catch((error) => [error.code, error.message])"
    assert page(text) == ["invalid", "it is invalid"]
    assert "error" not in page("kinds(socket)")


def test_a_call_has_a_time_limit_of_its_own(page: Page, fake: Fake) -> None:
    fake.mute.add("add")
    page.make(timeout=600_000)
    call = "fate(socket.call('add', {}, {timeout: 20}))"
    assert page(call) == ["rejected", "timeout"]


def test_the_sockets_time_limit_is_the_default(page: Page, fake: Fake) -> None:
    fake.mute.add("add")
    page.make(timeout=300)
    assert page("fate(socket.call('add'))") == ["rejected", "timeout"]


def test_the_time_without_a_connection_counts(page: Page, fake: Fake) -> None:
    page.make(backoff={"min": 600_000, "max": 600_000})
    page("void (Math.random = () => 1)")
    fake.cut()
    page.until("socket.state === 'waiting'")
    call = "fate(socket.call('add', {}, {timeout: 20}))"
    assert page(call) == ["rejected", "timeout"]
    assert fake.count("add") == 0


def test_a_call_waits_for_a_connection(page: Page, fake: Fake) -> None:
    page.make()
    fake.cut()
    page.expect("socket", "close")
    assert page("socket.call('add', {a: 1, b: 1})") == 2


def test_without_a_queue_a_call_fails_at_once(page: Page, fake: Fake) -> None:
    page.make(backoff={"min": 600_000, "max": 600_000})
    page("void (Math.random = () => 1)")
    fake.cut()
    page.until("socket.state === 'waiting'")
    call = "fate(socket.call('add', {}, {queue: false}))"
    assert page(call) == ["rejected", "offline"]


def test_a_connection_that_breaks_rejects_the_calls_that_were_sent(
    page: Page, fake: Fake
) -> None:
    fake.mute.add("add")
    page.make()
    page("void (window.call = fate(socket.call('add')))")
    fake.expect("add")
    fake.cut()
    assert page("window.call") == ["rejected", "disconnected"]


def test_close_rejects_calls_and_leaves_no_timer(page: Page, fake: Fake) -> None:
    fake.mute.add("add")
    page.make(backoff={"min": 600_000, "max": 600_000})
    page("void (Math.random = () => 1)")
    page(f"void (window.sent = fate(socket.call('add', {{}}, {{timeout: {LONG}}})))")
    fake.expect("add")
    fake.cut()
    page.until("socket.state === 'waiting'")
    page(f"void (window.waits = fate(socket.call('add', {{}}, {{timeout: {LONG}}})))")
    page("socket.close()")
    assert page("window.sent") == ["rejected", "disconnected"]
    assert page("window.waits") == ["rejected", "closed"]
    assert page("left.timers.size") == 0


def test_without_a_time_limit_a_call_has_no_timer(page: Page, fake: Fake) -> None:
    fake.mute.add("add")
    page.make(heartbeat=0)
    page("void (window.before = left.timers.size)")
    page("void socket.call('add', {}, {timeout: Infinity}).catch(() => {})")
    fake.expect("add")
    assert page("left.timers.size <= window.before")

"""When dwebsocket.js does what: with a clock that only a test moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from .fake import Fake
from .page import PATIENCE, Page

Opened = Callable[..., Page]


@pytest.fixture
def page(opened: Opened) -> Page:
    page = opened(clock=True)
    # Every pause is as long as it can be.
    page("void (Math.random = () => 1)")
    return page


def make(page: Page, **options: object) -> None:
    page("(options) => void make(options)", options)
    page.until("socket.state === 'open'")


def after(page: Page, seconds: float) -> None:
    page.page.clock.run_for(round(seconds * 1000))


def test_silence_is_ended_by_a_ping(page: Page, fake: Fake) -> None:
    make(page)
    after(page, 24.9)
    # Whatever comes is a sign of life.
    fake.tell({"type": "data", "data": 1})
    page.expect("socket", "data")
    after(page, 24.9)
    page("socket.send('a barrier')")
    page.expect("socket", "data", 2)
    assert fake.pings == 0
    for number in range(1, 4):
        after(page, 25.1)
        fake.until(lambda expected=number: fake.pings == expected)
        # The pong goes before this on the same connection.
        fake.tell({"type": "data", "data": number})
        page.expect("socket", "data", 2 + number)
    after(page, 11)
    assert page("kinds(socket).includes('close')") is False


def test_a_server_that_does_not_answer_is_left(page: Page, fake: Fake) -> None:
    fake.mute = {"ping", "publish"}
    make(page)
    page.join()
    page.send("?")
    fake.expect("publish")
    # The publication is given up before the connection is.
    after(page, 10.1)
    assert page.fates() == [["rejected", "timeout"]]
    after(page, 15)
    fake.until(lambda: fake.pings)
    after(page, 9.8)
    assert page("socket.state") == "open"
    after(page, 0.3)
    assert page.expect("socket", "close") == {
        "code": 1006,
        "reason": "the server does not answer",
        "willReconnect": True,
    }
    after(page, 1)
    page.expect("socket", "open", 2)
    assert page.expect("r", "joined", 2)


def test_heartbeats_are_the_applications_choice(page: Page, fake: Fake) -> None:
    make(page, heartbeat=0)
    after(page, 600)
    assert fake.pings == 0
    page("socket.close()")
    make(page, heartbeat=100)
    after(page, 0.11)
    fake.until(lambda: fake.pings == 1)


def test_a_welcome_must_come(page: Page, fake: Fake) -> None:
    fake.welcome = None
    page("void make()")
    fake.until(lambda: fake.connections)
    after(page, 9.9)
    assert page("socket.log") == []
    after(page, 0.2)
    reconnecting = page.expect("socket", "reconnecting")
    assert reconnecting["reason"] == "the server did not welcome us"
    # It was never open, so it is not closed.
    assert page("kinds(socket)") == ["reconnecting"]


@pytest.fixture
def warnings(page: Page) -> list[str]:
    """Return what the module warns the page's console of, as it comes."""
    found: list[str] = []

    def note(message: Any) -> None:
        # Chromium itself warns of connections that were given up.
        if message.text.startswith("dwebsocket.js"):
            assert message.type == "warning"
            found.append(message.text)

    page.page.on("console", note)
    return found


def said(page: Page, warnings: list[str]) -> list[str]:
    page("1")  # what the console has got until now has come
    return warnings


def test_a_view_that_is_no_session_is_named(
    page: Page, fake: Fake, warnings: list[str]
) -> None:
    fake.welcome = None
    page("void make()")
    fake.until(lambda: fake.connections)
    # The opening is told by the browser, in its own time.
    deadline = time.monotonic() + PATIENCE
    while not said(page, warnings) and time.monotonic() < deadline:
        after(page, 3.1)
    [warning] = warnings
    assert "/ws/ is connected, and does not say welcome" in warning
    assert "Session" in warning
    after(page, 60)
    assert said(page, warnings) == [warning]


def test_a_first_frame_that_is_no_welcome_is_named(
    page: Page, fake: Fake, warnings: list[str]
) -> None:
    fake.welcome = {"type": "hello"}
    page("void make()")
    fake.until(lambda: fake.connections)
    deadline = time.monotonic() + PATIENCE
    while not said(page, warnings) and time.monotonic() < deadline:
        page("new Promise((done) => queueMicrotask(done))")
    [warning] = warnings
    assert "sends no welcome first" in warning


def test_an_address_that_was_never_reached_is_named_once(
    page: Page, fake: Fake, warnings: list[str]
) -> None:
    fake.stop()
    page("void make({}, '/ws/?token=s3cret')")
    for attempt in (1, 2, 3):
        page.expect("socket", "reconnecting", attempt)
        after(page, 60)
    [warning] = said(page, warnings)
    assert "/ws/ cannot be connected to" in warning
    assert "log" in warning
    assert "s3cret" not in warning


def test_a_session_is_not_warned_of(
    page: Page, fake: Fake, warnings: list[str]
) -> None:
    make(page)
    after(page, 60)
    fake.cut()
    page.expect("socket", "reconnecting")
    assert said(page, warnings) == []


def test_pauses_double_up_to_a_limit(page: Page, fake: Fake) -> None:
    make(page)
    fake.stop()
    for attempt, delay in enumerate([1, 2, 4, 8, 16, 30, 30], 1):
        found = page.expect("socket", "reconnecting", attempt)
        assert (found["attempt"], found["delay"]) == (attempt, delay * 1000)
        assert page("socket.state") == "waiting"
        after(page, delay - 0.1)
        assert page("socket.state") == "waiting"
        after(page, 0.2)
    # The connection that is under way must have failed before there is a server again.
    page.expect("socket", "reconnecting", 8)
    fake.start()
    after(page, 30)
    page.until("socket.state === 'open'")
    # A connection that breaks at once is no reason to hurry; one that has lasted is.
    fake.cut()
    found = page.expect("socket", "reconnecting", 9)
    assert (found["attempt"], found["delay"]) == (9, 30_000)
    after(page, 30)
    page.until("socket.state === 'open'")
    after(page, 5.1)
    fake.cut()
    found = page.expect("socket", "reconnecting", 10)
    assert (found["attempt"], found["delay"]) == (1, 1000)


def test_pauses_are_spread(page: Page, fake: Fake) -> None:
    page("void (Math.random = () => 0.25)")
    make(page, backoff={"min": 400})
    fake.stop()
    for attempt, delay in enumerate([100, 200, 400], 1):
        found = page.expect("socket", "reconnecting", attempt)
        assert found["delay"] == delay
        after(page, delay / 1000)


@pytest.mark.parametrize(
    "event",
    ["window.dispatchEvent(new Event('online'))", "page-becomes-visible"],
)
def test_it_comes_back_at_once_when_there_is_reason_to(
    page: Page, fake: Fake, event: str
) -> None:
    make(page, backoff={"min": 60_000})
    fake.cut()
    page.expect("socket", "reconnecting")
    shown = """(state) => {
        Object.defineProperty(document, "visibilityState",
            {value: state, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    if event == "page-becomes-visible":
        page(shown, "hidden")
        assert page("socket.state") == "waiting"
        page(shown, "visible")
    else:
        page(event)
    page.expect("socket", "open", 2)
    # The pause that it has cut short is over, too.
    after(page, 4)
    assert page("socket.state") == "open"
    # And a connection that may have died meanwhile is looked at.
    page(shown, "visible")
    fake.until(lambda: fake.pings == 1)


def test_an_attempt_that_hangs_is_given_up_when_there_is_reason_to(
    page: Page, fake: Fake
) -> None:
    online = "window.dispatchEvent(new Event('online'))"
    welcome, fake.welcome = fake.welcome, None
    page("void make()")
    fake.until(lambda: fake.connections)
    after(page, 1.8)
    page(online)
    assert page("kinds(socket)") == []
    after(page, 0.3)
    fake.welcome = welcome
    page(online)
    page.expect("socket", "open")
    assert page("kinds(socket)") == ["reconnecting", "open"]


def test_pauses_are_short_again_when_there_is_reason_to(page: Page, fake: Fake) -> None:
    make(page)
    fake.stop()
    for attempt, delay in enumerate([1, 2, 4, 8], 1):
        page.expect("socket", "reconnecting", attempt)
        after(page, delay)
    page.expect("socket", "reconnecting", 5)
    page("window.dispatchEvent(new Event('online'))")
    found = page.expect("socket", "reconnecting", 6)
    assert (found["attempt"], found["delay"]) == (1, 1000)


def test_answers_that_come_too_late_do_no_harm(page: Page, fake: Fake) -> None:
    fake.mute = {"publish"}
    make(page)
    page.join()
    page.send(1)
    number = fake.expect("publish")["id"]
    after(page, 10.1)
    assert page.fates() == [["rejected", "timeout"]]
    fake.tell({"type": "ack", "id": number})
    fake.tell({"type": "data", "data": "after it"})
    page.expect("socket", "data")
    assert page("kinds(socket)") == ["open", "data"]

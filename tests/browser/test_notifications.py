"""What push.js makes of what a server says, in whichever order that comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .fake import Fake
from .page import Page

OPEN = """async () => {
    const { Notifications } = await import("/push/push.js");
    window.log = [];
    const target = new EventTarget();
    target.addEventListener("notification", ({ id }) => log.push(["shown", id]));
    target.addEventListener("taken", ({ id }) => log.push(["taken", id]));
    const options = { backoff: { min: 1, max: 50 } };
    window.notifications = new Notifications("/ws/", target, options);
}"""
GROUP = "plain"


class Server:
    """The half of the conversation that contrib.push has."""

    def __init__(self, page: Page, fake: Fake) -> None:
        self.page = page
        self.fake = fake
        fake.mute = {"data"}
        page(OPEN)
        self.greeted()

    def greeted(self, number: int = 1) -> None:
        """Wait until the page has asked for what waits."""

        def hellos() -> bool:
            said = [each.get("data") for each in self.fake.received]
            return said.count({"push": "hello"}) >= number

        self.fake.until(hellos)

    def waiting(self, *ids: int | str, more: bool = False) -> None:
        notifications = [notification(number) for number in ids]
        data = {"push": "waiting", "notifications": notifications, "more": more}
        self.fake.tell({"type": "data", "data": data})

    def says(self, **data: Any) -> None:
        self.fake.tell({"type": "message", "group": GROUP, "data": data})

    def log(self) -> Any:
        """Return what the page has shown, after one that comes last."""
        self.says(notification=notification(99))
        self.page.until("log.some(([, id]) => id === 99)")
        return self.page("log.filter(([, id]) => id !== 99)")

    def pending(self) -> Any:
        return self.page("notifications.pending.map(({ id }) => id)")


def notification(number: int | str) -> dict[str, Any]:
    return {"id": number, "payload": number, "created": "2026-01-01T00:00:00Z"}


@pytest.fixture
def server(opened: Callable[..., Page], fake: Fake) -> Server:
    return Server(opened(), fake)


def test_what_waited_comes_before_what_is_new(server: Server) -> None:
    server.says(notification=notification(3))
    server.waiting(1, more=True)
    server.waiting(2)
    assert server.log() == [["shown", 1], ["shown", 2], ["shown", 3]]


def test_ids_that_javascript_would_round_are_texts(server: Server) -> None:
    first, second, third = (str(2**62 + number) for number in (1, 2, 3))
    for number in (third, 5, second):
        server.says(notification=notification(number))
    server.waiting(first)
    assert server.log() == [
        ["shown", first],
        ["shown", 5],
        ["shown", second],
        ["shown", third],
    ]
    server.page(f"notifications.acknowledge('{second}')")
    server.fake.until(
        lambda: (
            {"push": "taken", "ids": [second]}
            in [each.get("data") for each in server.fake.received]
        )
    )


def test_what_is_taken_before_it_was_shown_is_not_shown(server: Server) -> None:
    server.says(notification=notification(3))
    server.says(taken=[2, 3])
    # Read before that was known.
    server.waiting(1, 2)
    assert server.log() == [["shown", 1]]
    assert server.pending() == [1, 99]


def test_what_was_taken_while_the_page_was_away_goes(server: Server) -> None:
    server.waiting(1, 2)
    server.page.until("log.length === 2")
    server.fake.cut()
    server.greeted(2)
    server.waiting(2)
    assert server.log() == [["shown", 1], ["shown", 2], ["taken", 1]]
    assert server.pending() == [2, 99]


def test_an_element_may_be_moved(server: Server) -> None:
    """What it has shown it does not show again."""
    server.page(
        """() => {
            notifications.close();
            window.element = document.createElement("dwebsocket-push");
            element.setAttribute("url", "/ws/");
            const shown = ({ id }) => log.push(["shown", id]);
            element.addEventListener("notification", shown);
            document.body.append(element);
        }"""
    )
    server.greeted(2)
    server.waiting(1, 2)
    server.page.until("log.length === 2")
    server.page("document.body.prepend(element)")
    server.greeted(3)
    server.waiting(1, 2, 3)
    assert server.log() == [["shown", 1], ["shown", 2], ["shown", 3]]

"""A page in which dwebsocket.js is loaded, and fixtures that open one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .fake import PATIENCE, Fake

#: Counts the timers and the listeners that a page has left.
COUNTING = """
window.left = {timers: new Set(), listeners: 0};
const {setTimeout: set, clearTimeout: clear} = window;
window.setTimeout = (then, ...more) => {
    const id = set((...args) => { left.timers.delete(id); then(...args); }, ...more);
    left.timers.add(id);
    return id;
};
window.clearTimeout = (id) => { left.timers.delete(id); clear(id); };
for (const target of [window, document]) {
    const {addEventListener: add, removeEventListener: remove} = target;
    const ours = (type) => type === "online" || type === "visibilitychange";
    target.addEventListener = function (...args) {
        if (ours(args[0])) left.listeners += 1;
        return add.apply(this, args);
    };
    target.removeEventListener = function (...args) {
        if (ours(args[0])) left.listeners -= 1;
        return remove.apply(this, args);
    };
}
"""
#: Every pause is as long as it can be, and over soon.
QUICK = {"backoff": {"min": 1, "max": 50}}


class Page:
    """A page in which dwebsocket.js is loaded, and what tests do with it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE * 1000)

    def __call__(self, script: str, argument: Any = None) -> Any:
        """Return the value of an expression, or of a function of the argument."""
        return self.page.evaluate(script, argument)

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        self.page.wait_for_function(expression)

    def make(self, **options: Any) -> None:
        """Connect, and wait for the welcome."""
        self(
            "(options) => void make(options)",
            {**QUICK, **options},
        )
        self.until("socket.state === 'open'")

    def join(self, name: str = "chat.1") -> Any:
        """Join a group; it is ``r`` in the page from now on."""
        return self("(name) => (window.r = room(name)).join()", name)

    def send(self, data: Any) -> None:
        """Publish without waiting; what becomes of it is added to ``fates``."""
        self(
            "(data) => void (window.fates ??= []).push(fate(r.send(data)))",
            data,
        )

    def fates(self) -> Any:
        return self("Promise.all(window.fates)")

    def expect(self, target: str, kind: str, number: int = 1) -> Any:
        """Return the fields of the nth event of a kind when it has come."""
        found = f"{target}.log.filter(([kind]) => kind === '{kind}')"
        self.until(f"{found}.length >= {number}")
        return self(f"{found}[{number - 1}][1]")


@pytest.fixture
def fake() -> Iterator[Fake]:
    running = Fake().start()
    yield running
    running.stop()


@pytest.fixture
def opened(chromium: Any, fake: Fake) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page, with a clock of the test's if it says so."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_page(clock: bool = False) -> Page:
        contexts.append(chromium.new_context())
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        if clock:
            page.clock.install(time=0)
        else:
            page.add_init_script(COUNTING)
        page.goto(fake.url)
        page.wait_for_function("window.loaded")
        if clock:
            page.clock.pause_at(10_000)
        return Page(page)

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    return opened()

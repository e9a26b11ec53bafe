"""Both contrib apps on the pages of a site with users, through restarts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kill.processes import ROOT, Server, free_port

from .page import Page

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
expect = playwright.expect
#: The server takes its time to start, several times in a test.
pytestmark = pytest.mark.timeout(180)

GUNICORN = "-m gunicorn tests.browser.contrib_site --threads 4 --bind 127.0.0.1"
HEARD = "heard.map(({ payload }) => payload)"
Visit = Callable[..., Page]


class Site(Server):
    """The site, and its management commands."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        argv = [sys.executable, *f"{GUNICORN}:{port}".split()]
        database = str(directory / "db.sqlite3")
        super().__init__("site", argv, port, directory, BROWSER_DATABASE=database)
        # The site has settings of its own, not those of the tests.
        self._env.pop("DJANGO_SETTINGS_MODULE", None)

    def stop(self) -> None:
        """Stop it as an administrator would, so that it says goodbye."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)

    def manage(self, *arguments: str) -> None:
        """Run a command in a process of its own."""
        argv = [sys.executable, "-m", "tests.browser.contrib_site", *arguments]
        subprocess.run(
            argv,
            check=True,
            timeout=60,
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def notify(self, user: str, *payloads: str) -> None:
        """Send notifications from another process: no open page is told."""
        self.manage(
            "shell",
            "-c",
            "from django.contrib.auth.models import User\n"
            "from dwebsocket.contrib.push import notify\n"
            f"user = User.objects.get_or_create(username={user!r})[0]\n"
            f"for payload in {payloads!r}: notify(user, payload)\n",
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path)
    running.manage("migrate", "--verbosity=0")
    running.start()
    yield running
    running.kill()
    assert "Traceback" not in running.text(), running.text()


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Visit]:
    """Return a function that opens the page for a user, or for nobody."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_page(user: str = "", beside: Page | None = None) -> Page:
        if beside is None:
            contexts.append(chromium.new_context(locale="en-GB"))
        page = beside.page.context.new_page() if beside else contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{site.port}/?user={user}")
        if user:
            # What had waited has come when this is answered.
            page.wait_for_function(
                "document.querySelector('dwebsocket-push')?.notifications?.socket"
                ".state === 'open'"
            )
        return Page(page)

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def state(page: Page, expected: str) -> None:
    shown = page.page.locator('[data-part="state"]')
    expect(shown).to_have_attribute("data-state", expected, timeout=30_000)


def test_notifications_wait_for_a_page_and_are_taken_once(
    site: Site, visit: Visit
) -> None:
    site.notify("ana", "one", "two")
    site.notify("li", "not hers")
    page = visit("ana")
    page.until("heard.length === 2")
    assert page(HEARD) == ["one", "two"]
    again = visit("ana", beside=page)
    again.until("heard.length === 2")
    page("heard[0].acknowledge()")
    again.until("taken.length === 1")
    assert again("taken[0] === heard[0].id") is True
    pending = "document.querySelector('dwebsocket-push').notifications.pending"
    assert again(f"{pending}.map(({{ payload }}) => payload)") == ["two"]
    again.page.reload()
    again.until("heard.length === 1")
    assert again(HEARD) == ["two"]


def test_notifications_outlive_the_server(site: Site, visit: Visit) -> None:
    site.notify("ana", "before")
    page = visit("ana")
    page.until("heard.length === 1")
    site.stop()
    socket = "document.querySelector('dwebsocket-push').notifications.socket"
    page.until(f"{socket}.state === 'waiting'")
    # Taken while nobody can be told; and sent while the page is away.
    page("heard[0].acknowledge()")
    site.notify("ana", "meanwhile")
    site.start()
    page.until("heard.length === 2")
    assert page(HEARD) == ["before", "meanwhile"]
    page.page.reload()
    page.until("heard.length === 1")
    assert page(HEARD) == ["meanwhile"]


def test_who_is_not_logged_in_sees_neither(visit: Visit) -> None:
    page = visit()
    assert page.page.locator("dwebsocket-push").count() == 0
    expect(page.page.get_by_text("This room is for its members.")).to_be_visible()
    assert page.page.get_by_label("Message", exact=True).count() == 0


def test_users_talk_through_a_restart(site: Site, visit: Visit) -> None:
    ana, li = visit("ana"), visit("li")
    heading = ana.page.get_by_role("heading", name="The lobby")
    expect(heading).to_be_visible()
    for page in (ana, li):
        state(page, "online")
    people = ana.page.locator('[data-part="people"] bdi')
    expect(people).to_have_text(["ana", "li"])
    site.stop()
    for page in (ana, li):
        state(page, "waiting")
    texts = ["first", "second", "third"]
    for text in texts:
        ana.page.get_by_label("Message", exact=True).fill(text)
        ana.page.keyboard.press("Enter")
    # What waits outlives the page, too; the server is not there to load it again from.
    stored = "JSON.parse(sessionStorage['chat:outbox:lobby']).map(({ text }) => text)"
    assert ana(stored) == texts
    site.start()
    for page in (ana, li):
        state(page, "online")
        bubbles = page.page.locator('[data-part="log"] .dwchat-bubble')
        expect(bubbles).to_have_text(texts, timeout=30_000)
    expect(ana.page.locator('[data-part="pending"] li')).to_have_count(0)
    expect(people).to_have_text(["ana", "li"])
    ana.page.reload()
    again = ana.page.locator('[data-part="log"] .dwchat-bubble')
    expect(again).to_have_text(texts, timeout=30_000)

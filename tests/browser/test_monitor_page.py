"""The page for staff in a browser: by keyboard, on a phone, in both themes."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.kill.processes import ROOT, Server, free_port
from tests.servers.client import WsClient

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
expect = playwright.expect
#: The server takes its time to start.
pytestmark = pytest.mark.timeout(180)

GUNICORN = "-m gunicorn tests.browser.staff_site --threads 8 --bind 127.0.0.1"
PATIENCE = 30_000
DESKTOP = {"width": 1280, "height": 900}
TABLET = {"width": 800, "height": 1000}
PHONE = {"width": 390, "height": 844}
STRANGE = "<script>window.evil=1</script><img src=x onerror=window.evil=1>"


class Site(Server):
    """The site, and visitors of it."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        argv = [sys.executable, *f"{GUNICORN}:{port}".split()]
        database = str(directory / "db.sqlite3")
        super().__init__("site", argv, port, directory, BROWSER_DATABASE=database)
        # The site has settings of its own, not those of the tests.
        self._env.pop("DJANGO_SETTINGS_MODULE", None)
        self._clients: list[WsClient] = []

    def migrate(self) -> None:
        """Make the tables, in a process of its own."""
        subprocess.run(
            [sys.executable, "-m", "tests.browser.staff_site", "migrate", "-v0"],
            check=True,
            timeout=60,
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """Stop it as an administrator would, so that it says goodbye."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def cookie(self, user: str) -> str:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request("GET", f"/enter?user={quote(user)}")
        response = client.getresponse()
        assert response.status == 200
        response.read()
        client.close()
        return (response.headers["Set-Cookie"] or "").partition(";")[0]

    def visit(self, room: str, cookie: str = "") -> WsClient:
        """Open a WebSocket, and join a group."""
        client = WsClient(("127.0.0.1", self.port))
        self._clients.append(client)
        client.open(f"/room/{quote(room)}", [("Cookie", cookie)] if cookie else ())
        assert client.receive() == "joined"
        return client

    def leave(self) -> None:
        while self._clients:
            self._clients.pop().drop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path)
    running.migrate()
    running.start()
    yield running
    running.leave()
    running.kill()
    assert "Traceback" not in running.text(), running.text()


Visit = Callable[..., Any]


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Visit]:
    """Return a function that opens the page for a member of the staff."""
    contexts: list[Any] = []
    errors: list[str] = []

    def strange(request: Any) -> None:
        if not request.url.startswith((f"http://127.0.0.1:{site.port}/", "data:")):
            errors.append(f"asked for {request.url}")

    def hear(message: Any) -> None:
        # What the policy forbids, and what fails, is on the console; a server that is
        # away is part of the tests.
        known = ("Failed to load resource", "WebSocket connection to")
        if message.type == "error" and not any(text in message.text for text in known):
            errors.append(message.text)

    def open_page(kind: str = "root", beside: Any = None, **options: Any) -> Any:
        if beside is None:
            options = {"locale": "en-GB", "viewport": DESKTOP, **options}
            contexts.append(chromium.new_context(**options))
        page = (beside.context if beside else contexts[-1]).new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", hear)
        page.on("request", strange)
        base = f"http://127.0.0.1:{site.port}"
        if beside is None:
            page.goto(f"{base}/enter?user={kind}&kind={kind}")
        page.goto(f"{base}/admin/websockets/")
        state(page, "live")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def state(page: Any, expected: str) -> None:
    shown = page.locator('[data-part="state"]')
    expect(shown).to_have_attribute("data-state", expected, timeout=PATIENCE)


def rows(page: Any, name: str = "connections") -> Any:
    return page.locator(f'[data-part="{name}"] tbody tr')


def has_rows(page: Any, number: int, name: str = "connections") -> None:
    expect(rows(page, name)).to_have_count(number, timeout=PATIENCE)


def test_what_strangers_have_chosen_is_text(site: Site, visit: Visit) -> None:
    site.visit(STRANGE, site.cookie(STRANGE))
    page = visit()
    has_rows(page, 1)
    row = rows(page).first
    expect(row).to_contain_text(f"/room/{STRANGE}")
    expect(row.get_by_role("button", name=f"of {STRANGE}").first).to_have_text(STRANGE)
    expect(rows(page, "groups").first).to_contain_text(STRANGE)
    row.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_contain_text(STRANGE)
    page.keyboard.press("Escape")
    rows(page, "groups").first.get_by_role("button").click()
    expect(page.locator('[data-part="filter"]')).to_have_text(STRANGE)
    assert page.evaluate("window.evil") is None


def test_a_view_that_the_server_does_not_take_is_told(site: Site, visit: Visit) -> None:
    page = visit()
    page.evaluate(
        """() => {
            const field = document.querySelector("#dwm-text");
            field.value = "x".repeat(300);
            field.form.requestSubmit();
        }"""
    )
    said = page.locator('[data-part="said"]')
    expect(said).to_have_text("This was not possible just now. Please try again.")


def test_a_group_with_the_longest_name_is_shown_alone(site: Site, visit: Visit) -> None:
    name = "g" * 255
    site.visit(name)
    site.visit("tea")
    page = visit()
    has_rows(page, 2)
    rows(page, "groups").first.get_by_role("button").click()
    has_rows(page, 1)


def test_closing_by_keyboard(site: Site, visit: Visit) -> None:
    li = site.cookie("li")
    clients = [site.visit(name, li) for name in ("one", "two")]
    other = site.visit("three")
    page = visit()
    has_rows(page, 3)
    button = page.get_by_role("button", name="Close the connection of li to /room/one")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Close a connection")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("li, /room/one, 127.0.0.1")
    # The safe choice has the focus; Escape closes nothing but the dialog.
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    said = page.locator('[data-part="said"]')
    expect(said).to_have_text("Connections closed: 1.")
    assert said.get_attribute("role") == "status"
    has_rows(page, 2)
    assert clients[0].read_close().close_code == 4001
    # The row has gone with the focus, which is on a row that is left.
    expect(page.locator("[data-close]:focus")).to_have_count(1)
    # All of the user.
    site.visit("four", li)
    has_rows(page, 3)
    page.get_by_role("button", name="Close the connection of li to /room/two").click()
    dialog.get_by_label("All connections of li").check()
    dialog.get_by_label("The client may connect again by itself").check()
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(said).to_have_text("Connections closed: 2.")
    assert clients[1].read_close().close_code == 1012
    has_rows(page, 1)
    other.send("still there")
    assert other.receive() == "still there"
    assert "root (user" in site.text()


def test_staff_without_the_permission_see_no_button(site: Site, visit: Visit) -> None:
    site.visit("one")
    page = visit("staff")
    has_rows(page, 1)
    expect(rows(page).first.get_by_role("button", name="Close")).to_have_count(0)


def test_searching_and_turning_pages(site: Site, visit: Visit) -> None:
    li = site.cookie("li")
    for number in range(60):
        site.visit(f"r{number:02}", li if number < 3 else "")
    page = visit()
    # The server sends no more than the rows on the screen.
    has_rows(page, 50)
    pages = page.get_by_role("navigation", name="Pages of connections")
    pages.get_by_role("button", name="Next").click()
    has_rows(page, 10)
    expect(pages).to_contain_text("Page 2")
    pages.get_by_role("button", name="Previous").click()
    has_rows(page, 50)
    field = page.get_by_role("searchbox", name="Search user, path, address or group")
    field.fill("R5")
    has_rows(page, 10)
    has_rows(page, 10, "groups")
    field.fill("li")
    has_rows(page, 3)
    field.fill("nothing of that kind")
    has_rows(page, 0)
    expect(page.get_by_text("No connection.")).to_be_visible()
    field.fill("")
    has_rows(page, 50)
    rows(page).first.get_by_role("button", name="Show only").click()
    has_rows(page, 3)
    page.get_by_role("button", name="Show all connections again").click()
    has_rows(page, 50)


def test_an_update_touches_what_has_changed(site: Site, visit: Visit) -> None:
    busy, _ = site.visit("busy"), site.visit("idle")
    page = visit()
    has_rows(page, 2)
    expect(rows(page).first).to_contain_text("0/s")
    page.evaluate(
        """() => {
            const touched = new Set();
            const note = ({ target }) => {
                const row = (target.parentElement ?? target).closest("tr");
                touched.add(row ? row.cells[1].textContent : "the table");
                document.body.dataset.touched = [...touched].join(" ");
            };
            new MutationObserver((all) => all.forEach(note)).observe(
                document.querySelector('[data-part="connections"] tbody'),
                { childList: true, characterData: true, subtree: true });
        }"""
    )
    for _ in range(20):
        busy.send("x")
        busy.receive()
    body = page.locator("body")
    expect(body).to_have_attribute("data-touched", "/room/busy", timeout=PATIENCE)


def test_a_page_that_nobody_sees_pauses(site: Site, visit: Visit) -> None:
    site.visit("one")
    page = visit()
    has_rows(page, 1)
    turn = """(value) => {
        Object.defineProperty(document, "hidden", { value, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(turn, True)
    other = visit(beside=page)
    site.visit("two")
    has_rows(other, 2)
    site.visit("three")
    has_rows(other, 3)
    assert rows(page).count() == 1
    page.evaluate(turn, False)
    has_rows(page, 3)


def test_it_comes_back_after_a_restart(site: Site, visit: Visit) -> None:
    site.visit("one")
    page = visit()
    has_rows(page, 1)
    site.stop()
    state(page, "reconnecting")
    expect(page.get_by_text("The connection is lost. Reconnecting")).to_be_visible()
    site.start()
    state(page, "live")
    has_rows(page, 0)
    site.visit("two")
    has_rows(page, 1)


def test_it_ends_with_the_login(site: Site, visit: Visit) -> None:
    page = visit()
    other = visit(beside=page)
    other.get_by_role("button", name="Log out").click()
    state(page, "ended")
    page.get_by_role("link", name="Log in again").click()
    expect(page).to_have_url(
        f"http://127.0.0.1:{site.port}/admin/login/?next=/admin/websockets/"
    )


def test_a_login_that_ends_while_the_server_is_away(site: Site, visit: Visit) -> None:
    page = visit()
    site.stop()
    state(page, "reconnecting")
    page.context.clear_cookies()
    site.start()
    state(page, "ended")


def test_the_admins_first_page_leads_to_it(site: Site, visit: Visit) -> None:
    page = visit()
    page.goto(f"http://127.0.0.1:{site.port}/admin/")
    page.get_by_role("link", name="WebSockets").click()
    state(page, "live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "size", [DESKTOP, TABLET, PHONE], ids=["desktop", "tablet", "phone"]
)
def test_every_size_and_theme(
    site: Site, visit: Visit, tmp_path: Path, size: dict[str, int], scheme: str
) -> None:
    li = site.cookie("li")
    clients = [site.visit(name, li) for name in ("tea", "a-long-name" * 12)]
    page = visit(viewport=size, color_scheme=scheme, has_touch=size is PHONE)
    has_rows(page, 2)
    clients[0].send("x")
    expect(rows(page).first).to_contain_text("/s")
    name = f"{size['width']}-{scheme}"
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    # Nothing is wider than the screen, and tables stay tables for a screen reader.
    wide = page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert wide
    for title in ("Processes", "Connections", "Groups"):
        table = page.get_by_role("table", name=title)
        expect(table).to_have_count(1)
        assert table.get_by_role("columnheader").count() > 2
        assert table.get_by_role("row").count() >= 2
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is (scheme == "light")
    rows(page).first.get_by_role("button", name="Close").click()
    box = page.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    page.screenshot(path=tmp_path / f"{name}-dialog.png")

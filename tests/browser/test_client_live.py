"""dwebsocket.js against real Sessions on real servers that are killed and come back."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kill.processes import Server, free_port
from tests.servers.redis import Redis

from .page import Page

GUNICORN = "-m gunicorn tests.browser.site --bind 127.0.0.1:{port} --threads 4"
RUNSERVER = "-m tests.browser.site runserver --noreload 127.0.0.1:{port}"
#: Servers take their time to start, several times in a test.
pytestmark = pytest.mark.timeout(180)


class Site(Server):
    """A server with the tests' site."""

    def __init__(
        self, name: str, directory: Path, broker: str = "", command: str = GUNICORN
    ) -> None:
        port = free_port()
        argv = [sys.executable, *command.format(port=port).split()]
        super().__init__(name, argv, port, directory, BROWSER_BROKER=broker)
        # The site has settings of its own, not those of the tests.
        self._env.pop("DJANGO_SETTINGS_MODULE", None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str) -> tuple[Any, bytes]:
        """Return the headers and the body of what is there."""
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return answer.headers, answer.read()

    def publish(self, group: str, number: int) -> None:
        """Publish from outside of any connection."""
        _, body = self.get(f"publish?group={group}&n={number}")
        assert json.loads(body)["broker"] in ("none", "stored")

    def stop(self) -> None:
        """Stop it as an administrator would, so that it says goodbye."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGTERM)
        self._process.wait(20)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a function that starts a server."""
    sites: list[Site] = []

    def start(name: str = "a", **options: Any) -> Site:
        sites.append(Site(name, tmp_path, **options))
        sites[-1].start()
        return sites[-1]

    yield start
    for site in sites:
        site.kill()
        assert "Traceback" not in site.text(), site.text()


@pytest.fixture
def redis() -> Iterator[Redis]:
    running = Redis()
    yield running
    running.close()


@pytest.fixture
def load(chromium: Any) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page of a site, connected and in ``chat.1``."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_page(site: Site, name: str = "Ada") -> Page:
        contexts.append(chromium.new_context())
        page = Page(contexts[-1].new_page())
        page.page.on("pageerror", lambda error: errors.append(str(error)))
        page.page.goto(site.url)
        page.until("window.loaded")
        page("(n) => void make({backoff: {max: 300}}, `/ws/?name=${n}`)", name)
        page.join()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def test_methods_of_a_class_are_called(serve, chromium: Any) -> None:
    site = serve()
    context = chromium.new_context()
    page = Page(context.new_page())
    page.page.goto(site.url)
    page.until("window.loaded")
    page("() => void make({heartbeat: 50}, '/desk/')")
    assert page("socket.call('add', {a: 1, b: 2})") == 3
    # Without a group object, a message of a group is the socket's.
    site.publish("chat.desk", 7)
    assert page.expect("socket", "message")["group"] == "chat.desk"
    # The server answers pings, so the connection stays.
    page("new Promise((then) => setTimeout(then, 300))")
    assert page("fate(socket.call('add', {a: 'x', b: 2}))") == ["rejected", "invalid"]
    assert page("fate(socket.call('forbid'))") == ["rejected", "forbidden"]
    assert page("fate(socket.call('unheard'))") == ["rejected", "unknown"]
    assert page("kinds(socket)") == ["open", "message"]
    context.close()


class Publisher(threading.Thread):
    """Publishes 0, 1, 2, ... to chat.1 until it is told to stop."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site = site
        self.count = 0
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            while not self.stopped.wait(0.005):
                self.site.publish("chat.1", self.count)
                self.count += 1
        except BaseException as error:
            self.error = error

    def stop(self) -> int:
        """Return how many it has published."""
        self.stopped.set()
        self.join(20)
        assert self.error is None, self.error
        return self.count


#: Publishes from the page, each when the one before is through or lost.
TALK = """() => {
    window.acked = [];
    window.lost = [];
    window.talking = true;
    (async () => {
        for (let n = 0; talking; n += 1) {
            await r.send({own: n}).then(() => acked.push(n), () => lost.push(n));
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
        window.quiet = true;
    })();
}"""


def test_a_page_has_everything_once_whatever_is_killed(
    serve: Callable[..., Site], redis: Redis, load: Callable[..., Page]
) -> None:
    mine = serve("mine", broker=redis.url)
    other = serve("other", broker=redis.url)
    page = load(mine)
    publisher = Publisher(other)
    page(TALK)
    for round_ in range(1, 5):
        page.until(f"acked.length > {20 * round_}")
        # In turn without a word, and properly.
        mine.kill() if round_ % 2 else mine.stop()
        page.expect("socket", "close", round_)
        mine.start()
        assert page.expect("r", "joined", round_ + 1)["recovered"]
    page.until("acked.length > 100")
    page("void (talking = false)")
    page.until("window.quiet")
    count = publisher.stop()
    page.until(f"heard(r).filter((m) => m.n !== undefined).length >= {count}")
    heard = page("heard(r)")
    assert [m["n"] for m in heard if "n" in m] == list(range(count))
    own = [m["own"] for m in heard if "own" in m]
    assert own == sorted(set(own))
    assert set(page("acked")) <= set(own) <= set(page("acked") + page("lost"))
    offsets = page("r.log.filter(([k]) => k === 'message').map(([, m]) => m.offset)")
    assert offsets == list(range(1, len(heard) + 1))
    assert page("kinds(r).includes('reset')") is False


#: Who is here, kept as docs/client.md says.
PEOPLE = """() => {
    window.people = new Map();
    const refresh = async () => {
        people.clear();
        for (const { id, info } of await r.members()) people.set(id, info.name);
    };
    r.addEventListener("joined", refresh);
    r.addEventListener("join", ({ member }) => people.set(member.id, member.info.name));
    r.addEventListener("leave", ({ member }) => people.delete(member.id));
    window.names = () => [...people.values()].sort().join();
    return refresh();
}"""


def test_pages_on_two_servers_see_each_other(
    serve: Callable[..., Site], redis: Redis, load: Callable[..., Page]
) -> None:
    first = serve("first", broker=redis.url)
    second = serve("second", broker=redis.url)
    ada, li = load(first, "Ada"), load(second, "Li")
    member = ada.expect("r", "join")["member"]
    assert member == {"id": li("socket.id"), "info": {"name": "Li"}}
    for page in (ada, li):
        page(PEOPLE)
        # A process that has just joined hears of the others in a moment.
        page.until("names() === 'Ada,Li'")
    li("r.send({text: 'hi'})")
    assert ada.expect("r", "message")["data"] == {"text": "hi"}
    li("r.leave()")
    ada.until("names() === 'Ada'")
    li("r.join()")
    for page in (ada, li):
        page.until("names() === 'Ada,Li'")
    second.kill()
    ada.until("names() === 'Ada'")
    second.start()
    for page in (ada, li):
        page.until("names() === 'Ada,Li'")


def test_a_history_that_died_with_its_server_is_reported(
    serve: Callable[..., Site], load: Callable[..., Page]
) -> None:
    site = serve()
    page = load(site)
    page("r.send('old')")
    page.expect("r", "message")
    assert page("fate(room('secret').join())") == ["rejected", "forbidden"]
    site.stop()
    closed = page.expect("socket", "close")
    assert closed["code"] == 1012
    page.send("waits")
    site.start()
    assert page.expect("r", "joined", 2) == {"recovered": False, "missed": 0}
    page.expect("r", "reset")
    page.until("heard(r).length === 2")
    assert page("heard(r)") == ["old", "waits"]


def test_runserver_serves_the_module(
    serve: Callable[..., Site], load: Callable[..., Page]
) -> None:
    site = serve(command=RUNSERVER)
    headers, body = site.get("static/dwebsocket/dwebsocket.js")
    assert headers.get_content_type() in ("text/javascript", "application/javascript")
    assert b"export class DWebSocket " in body
    assert site.get("static/dwebsocket/dwebsocket.d.ts")[1]
    page = load(site)
    page("socket.send({x: 1})")
    assert page.expect("socket", "data") == {"data": {"x": 1}}
    page("r.send('hi')")
    assert page.expect("r", "message")["data"] == "hi"

"""The page for staff, of sites with several workers."""

from __future__ import annotations

import http.cookies
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.brokers import Broker
from tests.servers.client import WsClient, eventually
from tests.servers.freezing import frozen
from tests.servers.harness import Server
from tests.servers.pool import Pool
from tests.servers.redis import Redis

pytestmark = pytest.mark.timeout(120)

WORKERS = 4
ENV = {"SITE_URLCONF": "tests.servers.site.urls_staff"}
APPS = ["contenttypes", "auth", "sessions", "messages", "admin", "staticfiles"]
CONTEXT = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
LIVE = "/admin/websockets/live/"


def _start(
    pool: Pool, directory: Path, spec: str = "gunicorn-gthread", **given: Any
) -> Server:
    given = {"MONITOR_DIRECTORY": str(directory), "SHUTDOWN_TIMEOUT": 2, **given}
    return pool.fresh(
        spec,
        settings={
            "INSTALLED_APPS": [
                "dwebsocket.contrib.monitor",
                "dwebsocket",
                *(f"django.contrib.{app}" for app in APPS),
            ],
            "MIDDLEWARE": MIDDLEWARE,
            "TEMPLATES": [
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "APP_DIRS": True,
                    "OPTIONS": {"context_processors": CONTEXT},
                }
            ],
            "STATIC_URL": "static/",
            "DWEBSOCKET": given,
        },
        env=ENV,
        args=["--workers", str(WORKERS)],
    )


def _login(server: Server, name: str, kind: str = "") -> list[tuple[str, str]]:
    jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    for value in server.get(f"/login?name={name}&kind={kind}").all("Set-Cookie"):
        jar.load(value)
    cookie = "; ".join(f"{key}={morsel.value}" for key, morsel in jar.items())
    return [("Cookie", cookie)]


class Page:
    """An open page, as its script sees it."""

    def __init__(self, server: Server, headers: list[tuple[str, str]]) -> None:
        self.client = server.open(LIVE, headers)
        self.number = 0
        self.tables: dict[str, dict[str, dict[str, Any]]] = {}
        assert json.loads(self.client.receive())["type"] == "welcome"

    def say(self, **data: Any) -> None:
        self.client.send(json.dumps({"type": "data", "data": data}))

    def hear(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.client.receive())["data"]
        for name in ("site", "processes", "connections", "groups"):
            change = data.get(name, {})
            known = self.tables.setdefault(name, {})
            known.update({row["key"]: row for row in change.get("rows", ())})
            if "order" in change:
                self.tables[name] = {key: known[key] for key in change["order"]}
        return data

    def view(self, **wanted: Any) -> None:
        self.number += 1
        self.say(monitor="view", number=self.number, **wanted)
        while self.hear().get("number") != self.number:
            pass

    def until(self, check: Callable[[], Any]) -> None:
        while not check():
            self.hear()

    def rows(self, name: str = "connections") -> list[dict[str, Any]]:
        return list(self.tables[name].values())

    @property
    def site(self) -> dict[str, Any]:
        return self.tables["site"]["site"]

    def close(
        self, path: str, name: str | None = None, **choice: Any
    ) -> dict[str, Any]:
        key = next(
            row["key"]
            for row in self.rows()
            if row["path"] == path and name in (None, row["name"])
        )
        self.say(monitor="close", number=0, key=key, **choice)
        while (data := self.hear())["monitor"] == "update":
            pass
        return data


def _visit(
    server: Server, workers: int, headers: list[tuple[str, str]] | None = None
) -> dict[int, list[WsClient]]:
    """Open connections until they are spread over some workers.

    They are few in each worker, however the kernel spreads them: a page has fifty rows.
    """
    found: dict[int, list[WsClient]] = {}
    for number in range(200):
        client = server.open(f"/room/{number}", headers or [])
        some = found.setdefault(int(client.receive()), [])
        if len(some) < 10:
            some.append(client)
        else:
            client.close()
        if len(found) == workers:
            return found
    raise AssertionError(f"{workers} workers are not in {found}")


def _code(client: WsClient) -> int:
    return int.from_bytes(client.read_close().payload[:2], "big")


@pytest.fixture(params=[None, Redis], ids=["alone", "redis"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker | None]:
    """Return a server that joins processes, or none."""
    running = request.param() if request.param else None
    yield running
    if running:
        running.close()


def test_it_sees_and_closes_in_all_workers(
    pool: Pool, tmp_path: Path, broker: Broker | None
):
    given = {"BROKER": broker.url} if broker else {}
    server = _start(pool, tmp_path / "figures", **given)
    li = _login(server, "li")
    visitors = _visit(server, 3, li)
    clients = [client for some in visitors.values() for client in some]
    others = _visit(server, 2)
    pages = [Page(server, _login(server, f"root{n}", "root")) for n in range(3)]
    for page in pages:
        page.view(search="li")
        assert len(page.rows()) == len(clients)
        assert {row["pid"] for row in page.rows()} == set(visitors)
        page.view()
        page.until(lambda page=page: page.site["watchers"] == len(pages))
        everybody = len(clients) + sum(map(len, others.values()))
        assert page.site["connections"] == everybody
        assert page.site["broker"] == ("connected" if broker else "none")
        assert {one["state"] for one in page.rows("processes")} == {"ok"}
    # All connections of the user, in all workers, from a page of one of them.
    answer = pages[0].close("/room/0", "li", all=True)
    assert answer["closed"] == len(clients)
    assert {_code(client) for client in clients} == {4001}
    pages[1].until(lambda: not any(r["name"] == "li" for r in pages[1].rows()))
    server.logged(f"root0 .* has closed all {len(clients)} connections of user")
    for some in others.values():
        for client in some:
            client.send("still there")
            assert client.receive() == "still there"


@pytest.mark.parametrize("spec", ["gunicorn-sync", "gunicorn-gevent"])
def test_on_other_servers(pool: Pool, tmp_path: Path, spec: str):
    server = _start(pool, tmp_path / "figures", spec)
    (some, *_), _ = _visit(server, 2).values()
    page = Page(server, _login(server, "root", "root"))
    page.view()
    assert len({row["pid"] for row in page.rows()}) == 2
    path = page.rows()[0]["path"]
    assert page.close(path, again=True)["closed"] == 1
    page.until(lambda: path not in {row["path"] for row in page.rows()})
    assert some is not None


def test_staff_without_the_permission_only_look(pool: Pool, tmp_path: Path):
    server = _start(pool, tmp_path / "figures")
    visitors = _visit(server, 1)
    page = Page(server, _login(server, "eve", "staff"))
    page.view()
    path = page.rows()[0]["path"]
    assert page.close(path)["code"] == "forbidden"
    server.logged("eve .* may not close connections")
    for (client,) in visitors.values():
        client.send("still there")
        assert client.receive() == "still there"
    assert server.get(LIVE, _login(server, "li")).status == 403
    with server.client() as stranger:
        stranger.refused(LIVE)


def test_a_worker_that_is_stopped_or_killed_is_seen(pool: Pool, tmp_path: Path):
    server = _start(pool, tmp_path / "figures")
    visitors = _visit(server, 3)
    page = Page(server, _login(server, "root", "root"))
    page.view()
    before = page.site["connections"]
    # Not the worker that the page is connected to: that one asks.
    for pid in visitors:
        with frozen(pid):
            silent = _hears(page, pid, "silent")
        if silent:
            break
    else:
        pytest.fail("no worker was silent")
    page.until(lambda: _state(page, pid) == "ok")
    assert page.site["connections"] == before
    os.kill(pid, signal.SIGKILL)
    page.until(lambda: _state(page, pid) is None)
    page.until(lambda: pid not in {row["pid"] for row in page.rows()})
    assert page.site["closed"]["1006"] == len(visitors[pid])


def _state(page: Page, pid: int) -> str | None:
    return next(
        (one["state"] for one in page.rows("processes") if one["pid"] == pid), None
    )


def _hears(page: Page, pid: int, state: str) -> bool:
    """Return whether a process becomes so; False: it is the page's own worker."""
    try:
        page.client.sock.settimeout(6)
        page.until(lambda: _state(page, pid) == state)
    except TimeoutError:
        return False
    finally:
        page.client.sock.settimeout(20)
    return True


def test_a_broker_that_is_away_is_shown(pool: Pool, tmp_path: Path):
    broker = Redis()
    try:
        server = _start(pool, tmp_path / "figures", BROKER=broker.url)
        _visit(server, 2)
        page = Page(server, _login(server, "root", "root"))
        page.view()
        page.until(lambda: page.site["broker"] == "connected")
        assert page.site["broker_address"]
        broker.kill()
        page.until(lambda: page.site["broker"] == "away")
        # The workers of this machine answer all the same.
        connections = page.site["connections"]
        assert connections == sum(one["connections"] for one in page.rows("processes"))
        assert {one["state"] for one in page.rows("processes")} == {"ok"}
        broker.start()
        page.until(lambda: page.site["broker"] == "connected")
    finally:
        broker.close()


def test_the_page_comes_back_after_a_reload(pool: Pool, tmp_path: Path):
    server = _start(pool, tmp_path / "figures")
    headers = _login(server, "root", "root")
    page = Page(server, headers)
    page.view()
    server.process.send_signal(signal.SIGHUP)
    while True:
        frame = page.client.read_frame()
        if frame.opcode == 8:
            break
    # dwebsocket.js connects again after this code.
    assert int.from_bytes(frame.payload[:2], "big") == 1012

    def comes_back() -> bool:
        server.drop_clients()  # an earlier attempt is a watcher, too
        try:
            again = Page(server, headers)
            again.view()
        except (AssertionError, EOFError, OSError):
            return False  # a worker that is about to end has accepted it
        return bool(again.site["watchers"] == 1)

    eventually(comes_back, what="the page comes back")

from __future__ import annotations

import contextlib
import importlib
import logging
import sys

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from django.views.decorators.cache import cache_page
from django.views.decorators.http import condition
from websockets.exceptions import ConnectionClosed

from dwebsocket import accept_websocket, require_websocket, runners, websocket
from tests.python.live import HANDSHAKE


@websocket
def echo(request):
    for message in request.websocket:
        request.websocket.send(message)


def page(request):
    if not request.is_websocket():
        return HttpResponse("the page")
    for message in request.websocket:
        request.websocket.send(message)
    return None


both = websocket(page)


def only_if(request):
    if request.is_websocket():
        page(request)


def swallows(request):
    with contextlib.suppress(Exception):
        request.websocket.send(request.websocket.receive())


def calls_another(request):
    echo(request)


#: A handshake after a proxy that knows nothing of WebSockets.
LOST = {
    key: value for key, value in HANDSHAKE.items() if key not in ("Upgrade", "upgrade")
} | {"Connection": "close"}


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()
    yield
    cache.clear()


def assert_echoes(running):
    with running.connect() as connection:
        connection.send("hello")
        assert connection.recv(timeout=10) == "hello"


class TestUpgradeRequired:
    def test_is_said_in_words(self, site, caplog):
        running = site({"": echo})
        response, body = running.request()
        assert response.status == 426
        assert b"WebSockets only" in body
        assert b"request.is_websocket()" in body
        assert response.headers["Vary"] == "Upgrade"
        assert response.headers["Content-Type"].startswith("text/plain")
        assert running.errors == []
        [record] = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert record.name == "dwebsocket.handshake"
        assert "echo" in record.getMessage()

    @pytest.mark.parametrize(
        ("server", "expected"),
        [
            ("gunicorn/23.0.0", ("websocket", "Upgrade")),
            ("WSGIServer/0.2", (None,) * 2),
        ],
    )
    def test_has_the_header_where_the_server_takes_it(self, server, expected):
        response = echo(RequestFactory().get("/", SERVER_SOFTWARE=server))
        assert (response.get("Upgrade"), response.get("Connection")) == expected

    @pytest.mark.parametrize("decorator", [websocket, accept_websocket])
    @pytest.mark.parametrize("view", [only_if, swallows, calls_another])
    def test_is_the_answer_of_a_view_that_has_none(self, site, caplog, decorator, view):
        running = site({"": decorator(view)})
        response, body = running.request()
        assert response.status == 426
        assert b"returns a response" in body
        assert response.headers["Vary"] == "Upgrade"
        assert "has no answer (None) to plain HTTP" in caplog.text
        assert running.errors == []
        with running.connect() as connection:
            connection.send("hello")

    def test_names_a_server_that_speaks_asgi(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "dwebsocket.asgi.entry", raising=False)
        response = echo(AsyncRequestFactory().get("/"))
        assert response.status_code == 426
        assert b"served by ASGI" in response.content
        assert b"served by ASGI" not in echo(RequestFactory().get("/")).content

    def test_names_no_asgi_server_that_serves_websockets(self):
        importlib.import_module("dwebsocket.asgi.entry")
        response = echo(AsyncRequestFactory().get("/"))
        assert response.status_code == 426
        assert b"WebSocket client" in response.content

    def test_names_an_asynchronous_view(self, caplog):
        @websocket
        async def listens(request):
            async for _ in request.websocket:
                pass

        assert listens(RequestFactory().get("/")).status_code == 426
        assert f"{__name__}.TestUpgradeRequired" in caplog.text
        assert "listens needs a WebSocket, and this was plain HTTP" in caplog.text

    def test_names_the_proxy_that_dropped_the_header(self, site, caplog):
        response, body = site({"": echo}).request(**LOST)
        assert response.status == 426
        assert b"proxy_set_header Upgrade $http_upgrade" in body
        # Without this, the Origin check would refuse what comes next.
        assert b"proxy_set_header Host $http_host;" in body
        assert "proxy_set_header Upgrade" in caplog.text

    @pytest.mark.parametrize(
        ("view", "status", "body"),
        [
            (websocket(page), 200, b"the page"),
            (accept_websocket(page), 200, b"the page"),
            (require_websocket(page), 400, b""),
        ],
    )
    def test_other_views_answer_as_ever(self, site, caplog, view, status, body):
        running = site({"": view})
        for headers in ({}, LOST):
            response, found = running.request(**headers)
            assert (response.status, found) == (status, body)
            assert response.headers["Vary"] == "Upgrade"
            assert ("proxy_set_header" in caplog.text) is bool(headers)


class TestCaches:
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {
                "MIDDLEWARE": [
                    "django.middleware.cache.UpdateCacheMiddleware",
                    "django.middleware.http.ConditionalGetMiddleware",
                    "django.middleware.gzip.GZipMiddleware",
                    "django.middleware.common.CommonMiddleware",
                    "django.middleware.cache.FetchFromCacheMiddleware",
                ]
            },
        ],
        ids=["page", "site"],
    )
    def test_a_cached_page_does_not_answer_a_handshake(self, site, settings):
        asked = []

        def counted(request):
            asked.append(request.is_websocket())
            return page(request)

        view = websocket(counted)
        running = site({"": view if settings else cache_page(60)(view)}, **settings)
        for _ in range(2):
            assert running.request()[1] == b"the page"
        assert asked == [False]
        for _ in range(2):
            assert_echoes(running)
        assert asked == [False, True, True]
        # Nor is the page lost, or the 101 kept.
        assert running.request()[1] == b"the page"
        assert asked == [False, True, True]

    def test_a_handshake_that_comes_first_is_not_kept(self, site):
        running = site({"": cache_page(60)(both)})
        assert_echoes(running)
        assert running.request()[1] == b"the page"
        assert_echoes(running)

    def test_conditional_requests_are_about_the_page(self, site):
        view = condition(etag_func=lambda request: '"1"')(both)
        running = site(
            {"": view},
            MIDDLEWARE=["django.middleware.http.ConditionalGetMiddleware"],
        )
        response, _ = running.request(If_None_Match='"1"')
        assert response.status == 304
        assert_echoes(running)

    def test_a_cache_inside_is_named(self, site, caplog):
        running = site({"": websocket(cache_page(60)(page))})
        assert_echoes(running)
        assert running.request()[1] == b"the page"
        with (
            running.connect() as connection,
            pytest.raises(ConnectionClosed, match="1011"),
        ):
            connection.recv(timeout=10)
        assert runners.join(10)
        assert "Put cache_page above" in caplog.text

    def test_a_refusal_is_not_for_plain_http(self, site):
        response, _ = site({"": echo}).request(
            **HANDSHAKE, Origin="https://evil.example"
        )
        assert response.headers["Vary"] == "Upgrade"

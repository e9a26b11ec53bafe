from __future__ import annotations

import errno
import gc
import http.client
import logging
import os
import subprocess
import sys

import pytest
from django.test import Client, RequestFactory, override_settings

from dwebsocket import (
    ConfigurationError,
    _engine,
    accept_websocket,
    require_websocket,
    servers,
    websocket,
)
from dwebsocket.handshake.request import asks
from dwebsocket.process import capacity
from dwebsocket.runners import threads
from dwebsocket.servers import ServerSocket, SocketBusy
from dwebsocket.wsgi import handoff
from tests.python.live import HANDSHAKE
from tests.python.peer import socket_pair
from tests.python.wsgi.test_handoff import environ


@websocket
def echo(request):
    for message in request.websocket:
        request.websocket.send(message)


@websocket(subprotocols=["best", "second"])
def with_list(request):
    request.websocket.send(str(request.websocket.subprotocol))


def choose(request, offered):
    return offered[-1] if offered else None


@websocket(subprotocols=choose)
def with_function(request):
    request.websocket.send(str(request.websocket.subprotocol))


@websocket(subprotocols=lambda request, offered: "never offered")
def with_wrong_function(request):
    raise AssertionError("must not run")


def without(name):
    return {key: value for key, value in HANDSHAKE.items() if key != name}


class TestRefusals:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            (without("Sec_WebSocket_Key"), 400),
            ({**HANDSHAKE, "Sec_WebSocket_Key": "short"}, 400),
            (without("Connection") | {"Connection": "keep-alive"}, 400),
            (without("Sec_WebSocket_Version"), 400),
            ({**HANDSHAKE, "Sec_WebSocket_Version": "8"}, 426),
            ({**HANDSHAKE, "Content_Length": "3"}, 400),
            ({**HANDSHAKE, "Transfer_Encoding": "chunked"}, 400),
        ],
    )
    def test_a_malformed_handshake_is_told_why(self, site, headers, status):
        response, body = site({"": echo}).request(**headers)
        assert response.status == status
        assert len(body) > 10
        if status == 426:
            assert response.headers["Sec-WebSocket-Version"] == "13"

    def test_a_connection_header_that_a_proxy_has_changed(self, site):
        _, body = site({"": echo}).request(**HANDSHAKE | {"Connection": "close"})
        assert b'proxy_set_header Connection "upgrade";' in body

    def test_only_get_opens(self, site):
        response, _ = site({"": echo}).request(method="PUT", **HANDSHAKE)
        assert response.status in (403, 405)

    def test_http_1_0_is_refused(self, site, monkeypatch):
        monkeypatch.setattr(http.client.HTTPConnection, "_http_vsn_str", "HTTP/1.0")
        response, body = site({"": echo}).request(**HANDSHAKE)
        assert response.status == 400
        assert b"HTTP/1.1" in body

    def test_a_foreign_origin_gets_403_and_a_security_log(self, site, caplog):
        running = site({"": echo})
        response, body = running.request(**HANDSHAKE, Origin="https://evil.example")
        assert response.status == 403
        assert b"https://evil.example" in body
        assert b"ALLOWED_ORIGINS" in body
        [record] = [r for r in caplog.records if r.name == "django.security.dwebsocket"]
        assert record.levelno == logging.WARNING
        assert not [r for r in caplog.records if r.name == "django.request"]

    def test_an_allowed_origin_gets_in(self, site):
        running = site(
            {"": echo}, DWEBSOCKET={"ALLOWED_ORIGINS": ["https://a.example"]}
        )
        with running.connect(origin="https://a.example") as connection:
            connection.send("hello")
            assert connection.recv(timeout=10) == "hello"

    def test_past_the_limit_there_is_503_and_a_place_comes_back(self, site, quiet):
        limit = quiet + 1
        running = site({"": echo}, DWEBSOCKET={"MAX_CONNECTIONS": limit})
        with running.connect() as connection:
            response, body = running.request(**HANDSHAKE)
            assert response.status == 503
            assert response.headers["Retry-After"]
            assert b"MAX_CONNECTIONS" in body
            connection.send("x")
            connection.recv(timeout=10)
        while running.request(**HANDSHAKE)[0].status == 503:
            pass

    def test_a_refused_request_keeps_no_place(self, site, quiet):
        running = site({"": echo})
        running.request(**HANDSHAKE, Origin="https://evil.example")
        gc.collect()
        assert _engine.connection_count() == quiet

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (OSError(errno.EMFILE, "too many"), 503),
            (SocketBusy("earlier output"), 503),
            (OSError(errno.ENOTSOCK, "no socket"), 501),
        ],
    )
    def test_a_socket_that_cannot_be_held_is_told_why(
        self, site, monkeypatch, error, status, quiet
    ):
        def held(server):
            raise type(error)(*error.args)

        monkeypatch.setattr(servers, "Held", held)
        response, body = site({"": echo}).request(**HANDSHAKE)
        assert response.status == status
        assert ("Retry-After" in response.headers) == (status == 503)
        assert len(body) > 10
        gc.collect()
        assert _engine.connection_count() == quiet

    def test_a_runner_without_descriptors_is_a_refusal(self, site, monkeypatch, quiet):
        def reserve(self):
            raise OSError(errno.EMFILE, "too many")

        # Under gevent, the first view of a hub needs one.
        monkeypatch.setattr(threads.Threads, "reserve", reserve)
        response, body = site({"": echo}).request(**HANDSHAKE)
        assert (response.status, b"descriptor" in body) == (503, True)
        gc.collect()
        assert _engine.connection_count() == quiet

    def test_the_test_client_gets_501_with_what_to_do(self, caplog):
        headers = {
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_UPGRADE": "websocket",
            "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
        }
        request = RequestFactory().get("/", **headers)
        response = echo(request)
        assert response.status_code == 501
        assert b"dwebsocket.testing" in response.content
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.status_code == 501

    def test_the_default_limit_leaves_files_for_the_server(self, monkeypatch):
        monkeypatch.setattr(capacity.resource, "getrlimit", lambda which: (1000, 2000))
        assert capacity.connections() == 750
        infinity = capacity.resource.RLIM_INFINITY
        monkeypatch.setattr(capacity.resource, "getrlimit", lambda which: (infinity, 0))
        assert capacity.connections() > 1_000_000
        with override_settings(DWEBSOCKET={"MAX_CONNECTIONS": 7}):
            assert capacity.connections() == 7


class TestProtocol:
    @pytest.mark.parametrize(
        "spoken",
        ["HTTP/0.9", "HTTP/1.0", "HTTP/1.2", "HTTP/2", "HTTP/2.0", "HTTP/3", ""],
    )
    def test_only_http_1_1_is_a_websockets(self, spoken):
        headers = {
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_UPGRADE": "websocket",
            "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
        }
        request = RequestFactory().get("/", SERVER_PROTOCOL=spoken, **headers)
        response = echo(request)
        assert response.status_code == 400
        assert b"HTTP/1.1" in response.content
        assert spoken.encode() in response.content


class TestSubprotocols:
    @pytest.mark.parametrize(
        ("route", "offered", "chosen"),
        [
            ("list", ["second", "best"], "best"),
            ("list", ["other", "second"], "second"),
            ("list", ["other"], None),
            ("list", None, None),
            ("function", ["a", "b"], "b"),
            ("function", None, None),
            ("none", ["a"], None),
            # Of dwebsocket.js, which every view may have to do with.
            ("none", ["dwebsocket.v1"], "dwebsocket.v1"),
            ("none", ["a", "dwebsocket.v1"], "dwebsocket.v1"),
            ("list", ["dwebsocket.v1"], "dwebsocket.v1"),
            ("list", ["dwebsocket.v1", "second"], "second"),
            ("function", ["dwebsocket.v1", "b"], "b"),
            ("nothing", ["b", "dwebsocket.v1"], "dwebsocket.v1"),
            ("nothing", ["b"], None),
        ],
    )
    def test_one_is_chosen(self, site, route, offered, chosen):
        def none(request):
            request.websocket.send(str(request.websocket.subprotocol))

        views = {
            "list": with_list,
            "function": with_function,
            "none": websocket(none),
            "nothing": websocket(subprotocols=lambda request, offered: None)(none),
        }
        with site(views).connect(route, subprotocols=offered) as connection:
            assert connection.recv(timeout=10) == str(chosen)
            assert connection.subprotocol == chosen

    def test_none_is_taken_and_the_log_says_so_once(self, site, caplog):
        def close(request):
            pass

        views = {"one": websocket(close), "two": websocket(subprotocols=["a"])(close)}
        running = site(views)
        for route in ("one", "one", "two"):
            with running.connect(route, subprotocols=["s3cret"]):
                pass
        found = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert [line.partition(":")[0] for line in found] == ["/one", "/two"]
        assert "subprotocols=[" in found[0]
        assert not [line for line in found if "s3cret" in line]

    def test_what_is_taken_is_not_warned_of(self, site, caplog):
        running = site({"list": with_list})
        for offered in (None, ["best"], ["dwebsocket.v1", "x"]):
            with running.connect("list", subprotocols=offered):
                pass
        assert not [r for r in caplog.records if r.levelname == "WARNING"]

    def test_one_that_was_not_offered_is_an_error(self, site):
        response, _ = site({"": with_wrong_function}).request(
            **HANDSHAKE, Sec_WebSocket_Protocol="a, b"
        )
        assert response.status == 500

    def test_one_string_is_not_a_list(self):
        with pytest.raises(ConfigurationError, match="list"):
            websocket(subprotocols="chat")(echo)

    @pytest.mark.parametrize(
        "wrong", [5, b"chat", [1], ["chat", None], ["a b"], [""], ["ä"], ["a,b"]]
    )
    def test_only_names_are_subprotocols(self, wrong):
        with pytest.raises(ConfigurationError, match="subprotocol"):
            websocket(subprotocols=wrong)(echo)

    def test_a_coroutine_function_chooses_none(self):
        async def choose(request, offered):
            return offered[0]

        with pytest.raises(ConfigurationError, match="async def"):
            websocket(subprotocols=choose)(echo)

    @pytest.mark.parametrize("names", [("b", "a"), {"a": 1}.keys(), frozenset("a")])
    def test_any_collection_of_names_is_fine(self, site, names):
        view = websocket(subprotocols=names)(lambda request: None)
        with site({"": view}).connect(subprotocols=["a"]) as connection:
            assert connection.subprotocol == "a"


class TestWants:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({}, False),
            ({"HTTP_UPGRADE": "h2c"}, False),
            ({"HTTP_UPGRADE": "websocket"}, True),
            ({"HTTP_UPGRADE": "WebSocket"}, True),
            ({"HTTP_UPGRADE": "h2c, websocket"}, True),
        ],
    )
    def test_is_in_the_upgrade_header(self, headers, expected):
        request = RequestFactory().get("/", **headers)
        assert (asks(request) is not None) is expected


def test_require_over_http_is_400_with_an_empty_body():
    response = require_websocket(echo)(RequestFactory().get("/"))
    assert (response.status_code, response.content) == (400, b"")


def test_without_descriptors_there_is_no_101():
    done = subprocess.run(
        [sys.executable, "-m", "tests.python.descriptorless", "7"],
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused = [f"{left} 503 0 b'descriptor'" for left in (1, 2)]
    opened = [f"{left} 101 0 b'HTTP/1.1 101'" for left in range(3, 8)]
    assert done.stdout.splitlines()[3:] == refused + opened
    # One line for each refusal (the first one was to warm up), and no traceback.
    assert len(done.stderr.splitlines()) == 3, done.stderr


def test_plain_http_through_the_test_client_runs_the_view(monkeypatch):
    from django.http import HttpResponse
    from django.urls import path

    @accept_websocket
    def view(request):
        assert request.is_websocket() is False
        assert not request.is_websocket
        assert request.websocket is None
        return HttpResponse("plain")

    urls = type("Urls", (), {"urlpatterns": [path("", view)]})
    with override_settings(ROOT_URLCONF=urls):
        assert Client().get("/").content == b"plain"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
class TestWithoutThreads:
    """A process whose user may have so many threads, the main one included."""

    def handshakes(self, threads, *words):
        done = subprocess.run(
            [sys.executable, "-m", "tests.python.threadless", str(threads), *words],
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        *lines, last = done.stdout.splitlines()
        assert last == "stopped"
        # One line for each refusal, and no more.
        refused = sum(line.startswith("503") for line in lines)
        assert done.stderr.count("WebSocket refused (503)") == refused
        assert "panicked" not in done.stderr
        return [tuple(map(int, line.split())) for line in lines]

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("threads", [1, 2, 3])
    def test_the_engine_is_not_started_and_nothing_remains(self, threads):
        assert self.handshakes(threads, "all") == [(503, 0, 0)] * 6

    @pytest.mark.timeout(120)
    def test_without_one_for_the_view_there_is_no_101(self):
        first, *others = self.handshakes(4, "all")
        # The engine has come to stay.
        assert (first[0], first[2]) == (503, 3)
        assert others == [(503, 0, 0)] * 5

    @pytest.mark.timeout(120)
    def test_views_get_those_that_are_left(self):
        lines = self.handshakes(6, "all")
        assert [status for status, _, _ in lines] == [101] * 2 + [503] * 4
        assert sum(threads for _, _, threads in lines) == 5

    @pytest.mark.timeout(120)
    def test_some_are_left_to_the_server(self):
        # Of eight, two are left; the main thread and the engine have four.
        lines = self.handshakes(8)
        assert [status for status, _, _ in lines] == [101] * 2 + [503] * 4
        assert sum(threads for _, _, threads in lines) == 5


class TestThatCannotBegin:
    @pytest.mark.parametrize(
        ("where", "error"),
        [
            ("dwebsocket._engine.start", OSError("no thread")),
            ("dwebsocket.process.exit.arm", RuntimeError("can't start new thread")),
            ("threading.Thread.start", RuntimeError("can't start new thread")),
            ("threading.Thread.start", MemoryError()),
        ],
    )
    def test_is_refused_before_the_socket_is_touched(
        self, monkeypatch, caplog, quiet, no_spare_threads, where, error
    ):
        def fail(*args):
            raise type(error)(*error.args)  # new: it keeps frames alive

        def adopt(*args):
            raise AssertionError("the socket was taken")

        server, client = socket_pair()
        monkeypatch.setattr(
            servers, "_registered", [lambda environ: ServerSocket(server.fileno())]
        )
        monkeypatch.setattr(_engine, "adopt", adopt)
        monkeypatch.setattr(handoff, "_serving", None)
        monkeypatch.setattr(where, fail)
        response = echo(environ(server))
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "10"
        assert b"thread" in response.content
        [record] = [r for r in caplog.records if r.name.startswith("dwebsocket")]
        assert "start a thread" in record.getMessage()
        assert _engine.connection_count() == quiet
        server.close()
        client.close()

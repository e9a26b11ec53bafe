from __future__ import annotations

import gc
import threading
import weakref

import pytest
from django.core.signals import request_finished
from django.http import HttpResponse
from django.test import RequestFactory
from websockets.exceptions import ConnectionClosed

from dwebsocket import _engine, handoff, servers, websocket
from dwebsocket.servers import ServerSocket

from .live import HANDSHAKE
from .peer import TIMEOUT, socket_pair

HERE = "tests.python.test_handoff"


class Cookies:
    """Sets a cookie and a header on the way out."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response.set_cookie("first", "1", httponly=True)
        response.set_cookie("second", "2")
        response["X-From-Middleware"] = "yes"
        return response


class Replaces(Cookies):
    def __call__(self, request):
        self.get_response(request)
        return HttpResponse("replaced", status=403)


class BadHeader(Cookies):
    def __call__(self, request):
        response = self.get_response(request)
        response.headers._store["x-bad"] = ("X-Bad", "a\r\nInjected: b")
        return response


@websocket
def echo(request):
    for message in request.websocket:
        request.websocket.send(message)


def environ(sock):
    request = RequestFactory().get(
        "/",
        HTTP_CONNECTION="Upgrade",
        HTTP_UPGRADE="websocket",
        HTTP_SEC_WEBSOCKET_KEY="dGhlIHNhbXBsZSBub25jZQ==",
        HTTP_SEC_WEBSOCKET_VERSION="13",
    )
    request.META["test.socket"] = sock
    return request


@pytest.fixture
def finder(monkeypatch):
    """Have requests find their socket in ``environ["test.socket"]``."""

    def find(environ):
        sock = environ.get("test.socket")
        return sock and ServerSocket(sock.fileno(), lambda: b"")

    monkeypatch.setattr(servers, "_registered", [find])


class TestResponseMiddleware:
    def test_what_it_sets_travels_in_the_101(self, site):
        running = site({"": echo}, MIDDLEWARE=[f"{HERE}.Cookies"])
        with running.connect() as connection:
            headers = connection.response.headers
            assert headers.get_all("Set-Cookie") == [
                "first=1; HttpOnly; Path=/",
                "second=2; Path=/",
            ]
            assert headers["X-From-Middleware"] == "yes"
            assert headers.get_all("Upgrade") == ["websocket"]
            assert "Content-Type" not in headers
            assert "Content-Length" not in headers

    def test_what_it_answers_instead_is_plain_http_and_no_view_runs(self, site, quiet):
        ran = threading.Event()
        running = site(
            {"": websocket(lambda request: ran.set())}, MIDDLEWARE=[f"{HERE}.Replaces"]
        )
        response, body = running.request(**HANDSHAKE)
        assert (response.status, body) == (403, b"replaced")
        assert not ran.is_set()
        gc.collect()
        assert _engine.connection_count() == quiet

    def test_a_header_cannot_be_smuggled_in(self, site, capfd):
        running = site({"": echo}, MIDDLEWARE=[f"{HERE}.BadHeader"])
        response, _ = running.request(**HANDSHAKE)
        assert response.status == 500
        assert "ValueError" in capfd.readouterr().err


class TestResponse:
    def test_starts_the_view_once_and_only_when_iterated(self, finder):
        ran = threading.Semaphore(0)
        server, client = socket_pair()
        response = websocket(lambda request: ran.release())(environ(server))
        assert response.status_code == 101
        assert not ran.acquire(blocking=False)
        assert list(response) == []
        assert ran.acquire(timeout=TIMEOUT)
        assert list(response) == []
        assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert not ran.acquire(timeout=0.05)
        server.close()
        client.close()

    @pytest.mark.django_db  # the signal request_finished looks at connections
    def test_closed_without_iteration_gives_the_place_back(self, finder, quiet):
        server, client = socket_pair()
        response = echo(environ(server))
        assert _engine.connection_count() == quiet + 1
        response.close()
        gc.collect()
        assert _engine.connection_count() == quiet
        assert list(response) == []
        server.close()
        client.close()

    def test_a_socket_that_is_gone_is_the_servers_error(self, finder):
        server, client = socket_pair()
        response = echo(environ(server))
        server.close()
        client.close()
        with pytest.raises(OSError, match="."):
            list(response)

    def test_request_finished_is_sent_once(self, site):
        finished = []

        def receiver(**kwargs):
            finished.append(threading.current_thread().name)

        request_finished.connect(receiver)
        try:
            running = site({"": echo})
            with running.connect() as connection:
                connection.send("x")
                connection.recv(timeout=TIMEOUT)
            running.stop()
        finally:
            request_finished.disconnect(receiver)
        assert len(finished) == 1


class TestRequest:
    def test_lets_go_of_the_server_and_keeps_the_rest(self, site):
        seen = {}

        @websocket
        def view(request):
            seen.update(request.META)
            seen["body"] = request.body
            seen["post"] = dict(request.POST)
            seen["header"] = request.headers["X-Mine"]
            seen["same"] = request.META is request.environ

        running = site({"": view})
        with (
            running.connect(additional_headers={"X-Mine": "kept"}) as connection,
            pytest.raises(ConnectionClosed, match="1000"),
        ):
            connection.recv(timeout=TIMEOUT)
        assert seen["wsgi.input"].read() == b""
        assert (seen["body"], seen["post"]) == (b"", {})
        assert seen["header"] == seen["HTTP_X_MINE"] == "kept"
        assert seen["same"] is True

    def test_the_servers_environ_stays_as_it_was(self, finder):
        server, client = socket_pair()
        request = environ(server)
        original = request.META
        kept = dict(original)
        list(websocket(lambda request: None)(request))
        assert original == kept
        server.close()
        client.close()

    def test_what_belongs_to_the_server_can_be_freed(self, finder):
        class Parser:
            pass

        parser = Parser()
        server, client = socket_pair()
        request = environ(server)
        request.META["wsgi.early_hints"] = parser
        freed = weakref.ref(parser)
        hold = threading.Event()
        list(websocket(lambda request: hold.wait(TIMEOUT))(request))
        del parser, request
        gc.collect()
        assert freed() is None
        hold.set()
        server.close()
        client.close()

    @pytest.mark.parametrize(
        ("meta", "expected"),
        [
            ({"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "5"}, ("192.0.2.1", 5)),
            ({"REMOTE_ADDR": "192.0.2.1"}, ("192.0.2.1", 0)),
            ({"REMOTE_PORT": "x"}, ("", 0)),
        ],
    )
    def test_the_remote_address_is_what_the_server_says(self, meta, expected):
        assert handoff._remote_address(meta) == expected


def test_is_websocket_is_callable_and_truthy_only_on_a_websocket():
    assert handoff.YES() is True
    assert handoff.YES
    plain = handoff.IsWebSocket(False)
    assert not plain.asked
    assert plain() is False
    assert not plain
    assert plain.asked
    assert "True" in repr(handoff.YES)


BUILT_IN = [
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.common.BrokenLinkEmailsMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]


def test_every_middleware_of_django_lets_it_pass(site):
    @websocket
    def view(request):
        request.websocket.send(f"{request.LANGUAGE_CODE} {request.user}")
        for message in request.websocket:
            request.websocket.send(message)

    engine = "django.contrib.sessions.backends.signed_cookies"
    running = site({"": view}, MIDDLEWARE=BUILT_IN, SESSION_ENGINE=engine)
    headers = {"Accept-Encoding": "gzip", "Accept-Language": "de"}
    with running.connect(additional_headers=headers) as connection:
        assert connection.recv(timeout=TIMEOUT) == "de AnonymousUser"
        connection.send("hello")
        assert connection.recv(timeout=TIMEOUT) == "hello"
        assert connection.response.headers["X-Frame-Options"] == "DENY"

from __future__ import annotations

import contextlib
import copy
import gc
import logging
import os
import pickle
import threading
import time
import traceback
import weakref
from typing import ClassVar

import pytest
from django.core.signals import request_finished
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory, override_settings
from websockets.exceptions import ConnectionClosed

from dwebsocket import ConfigurationError, _engine, runners, servers, websocket
from dwebsocket.backends.default.factory import WebSocketFactory
from dwebsocket.handshake import request as marks
from dwebsocket.runners import threads
from dwebsocket.servers import ServerSocket
from dwebsocket.wsgi import handoff
from tests.python.live import HANDSHAKE
from tests.python.peer import TIMEOUT, Peer, socket_pair

HERE = "tests.python.wsgi.test_handoff"


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


def environ(sock, path="/"):
    request = RequestFactory().get(
        path,
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

    @pytest.mark.parametrize(
        ("middleware", "status", "expected"),
        [("Replaces", 403, b"replaced"), ("Raises", 500, b"Server Error")],
    )
    def test_what_it_answers_instead_is_plain_http_and_no_view_runs(
        self, site, quiet, caplog, middleware, status, expected
    ):
        ran = threading.Event()
        running = site(
            {"": websocket(lambda request: ran.set())},
            MIDDLEWARE=[f"{HERE}.{middleware}"],
        )
        response, body = running.request(**HANDSHAKE)
        assert response.status == status
        assert expected in body
        assert not ran.is_set()
        gc.collect()
        assert _engine.connection_count() == quiet
        said = "has returned another response or has raised an exception"
        assert said in caplog.text

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
        with pytest.raises(ConfigurationError, match="has kept the response"):
            list(response)
        server.close()
        client.close()

    def test_a_socket_that_is_gone_is_the_servers_error(self, finder):
        server, client = socket_pair()
        response = echo(environ(server))
        server.close()
        client.close()
        with pytest.raises(OSError, match="."):
            list(response)

    def test_a_stranger_that_got_the_number_meanwhile_is_left_alone(self, finder):
        server, client = socket_pair()
        stranger, friend = socket_pair()
        response = echo(environ(server))
        os.dup2(stranger.fileno(), server.fileno())
        with pytest.raises(OSError, match="closed this connection"):
            list(response)
        friend.settimeout(0.05)
        with pytest.raises(TimeoutError):
            friend.recv(1)
        assert client.recv(1) == b""
        for sock in (server, client, stranger, friend):
            sock.close()

    @pytest.mark.django_db
    @pytest.mark.parametrize("how", ["dropped", "closed", "request"])
    def test_a_refusal_leaves_no_descriptor_open(self, finder, how):
        server, client = socket_pair()
        request = environ(server)
        response = echo(request)
        server.close()  # now only our own descriptor keeps the client waiting
        kept = None
        if how == "dropped":
            del response
        elif how == "closed":
            response.close()
        else:
            # Middleware keeps ours and returns another: Django closes the request.
            kept = response
            request.close()
        client.settimeout(TIMEOUT)
        assert client.recv(1) == b""
        if kept is not None:
            with pytest.raises(ConfigurationError, match="has kept the response"):
                list(kept)
        client.close()

    def test_a_client_that_is_gone_ends_without_an_error(self, monkeypatch, quiet):
        server, client = socket_pair()
        gone = threading.Event()

        @contextlib.contextmanager
        def guard():
            if gone.is_set():
                raise servers.ClientGone
            yield

        def find(environ):
            return ServerSocket(server.fileno(), guard=guard)

        monkeypatch.setattr(servers, "_registered", [find])
        response = echo(environ(server))
        gone.set()
        assert list(response) == []
        del response
        assert _engine.connection_count() == quiet
        assert echo(environ(server)).status_code == 400
        server.close()
        client.close()

    def test_the_request_can_be_copied_and_pickled_as_before(self, finder):
        server, client = socket_pair()
        request = environ(server)
        list(websocket(lambda request: None)(request))
        assert "close" not in vars(request)
        server.close()
        client.close()

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
    assert marks.YES() is True
    assert marks.YES
    plain = marks.IsWebSocket(False)
    assert not plain.asked
    assert plain() is False
    assert not plain
    assert plain.asked
    assert "True" in repr(marks.YES)


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


class Copies(Cookies):
    """Answers with a response of its own that has the status of the decorator's."""

    def __call__(self, request):
        response = self.get_response(request)
        return HttpResponse(response.content, status=response.status_code)


class CopiesStatus(Cookies):
    def __call__(self, request):
        response = self.get_response(request)
        copy = HttpResponse()
        copy.status_code = response.status_code
        return copy


class Forgets(Cookies):
    def __call__(self, request):
        self.get_response(request)
        return HttpResponse("instead")


class Raises(Cookies):
    def __call__(self, request):
        self.get_response(request)
        raise LookupError("no response")


class Streams(Cookies):
    """Wraps the response in a stream, as middleware that measures times does."""

    def __call__(self, request):
        response = self.get_response(request)

        def measured():
            yield from response
            response.close()

        return StreamingHttpResponse(measured(), status=response.status_code)


class Keeps(Cookies):
    """Tries to keep the response in a cache."""

    def __call__(self, request):
        response = self.get_response(request)
        for keep in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be kept"):
                keep(response)
        assert int(response.status_code) == response.status_code == 101
        assert f"{response.status_code} {response.status_code:d}" == "101 101"
        # A copy that shares everything may replace it.
        return copy.copy(response)


class Hoards(Cookies):
    """Keeps each response as it is, and answers something else."""

    kept: ClassVar[list] = []

    def __call__(self, request):
        self.kept.append(self.get_response(request))
        return HttpResponse("instead")


class Replays(Cookies):
    """A cache in memory, which answers with the object, or with a copy of it."""

    kept: ClassVar[dict] = {}

    def __call__(self, request):
        if request.path not in self.kept:
            response = self.get_response(request)
            self.kept[request.path] = copy.copy(response)
            return response
        return copy.copy(self.kept[request.path])


def warnings(caplog, path="/"):
    """Return what was logged of a path. (Tests before may leave something behind.)"""
    named = [r for r in caplog.records if r.name == "dwebsocket.handshake"]
    return [r for r in named if r.request.path == path]


class TestThrownAway:
    @pytest.mark.parametrize(
        ("name", "status"),
        [("Forgets", 200), ("Replaces", 403), ("Raises", 500), ("Copies", 500)],
    )
    def test_is_logged_and_leaves_nothing(self, site, quiet, caplog, name, status):
        ran = threading.Event()
        before = threading.active_count()
        running = site(
            {name: websocket(lambda request: ran.set())},
            MIDDLEWARE=[f"{HERE}.{name}"],
        )
        response, _ = running.request(name, **HANDSHAKE)
        assert response.status == status
        # Tracebacks keep it for a moment.
        for record in caplog.records:
            record.exc_info = None
        wait_until(lambda: gc.collect() is None or not waiting_threads())
        wait_until(lambda: warnings(caplog, f"/{name}"))
        [record] = warnings(caplog, f"/{name}")
        assert record.levelno == logging.WARNING
        assert f"/{name} was not opened" in record.getMessage()
        assert "middleware" in record.getMessage()
        wait_until(lambda: _engine.connection_count() <= quiet)
        assert threading.active_count() <= before + 2
        assert not ran.is_set()

    def test_and_its_status_kept_is_an_error_that_names_the_middleware(
        self, site, caplog
    ):
        running = site({"": echo}, MIDDLEWARE=[f"{HERE}.Copies"])
        response, _ = running.request(**HANDSHAKE)
        assert response.status == 500
        [record] = [r for r in caplog.records if r.name == "django.request"]
        error = record.exc_info[1]
        assert isinstance(error, ConfigurationError)
        names = [f.name for f in traceback.extract_tb(error.__traceback__)]
        assert "__call__" in names
        assert "must return the response" in str(error)

    def test_and_its_status_set_is_an_error_and_is_logged(self, site, caplog):
        running = site({"set": echo}, MIDDLEWARE=[f"{HERE}.CopiesStatus"])
        response, _ = running.request("set", **HANDSHAKE)
        # Not a 101 that starts nothing.
        assert response.status == 500
        [record] = [r for r in caplog.records if r.name == "django.request"]
        assert record.getMessage() == "Internal Server Error: /set"
        wait_until(lambda: warnings(caplog, "/set"))

    @pytest.mark.parametrize("end", ["close", "del"])
    @pytest.mark.django_db  # the signal request_finished looks at connections
    def test_without_iteration(self, finder, quiet, caplog, end):
        server, client = socket_pair()
        response = echo(environ(server, f"/{end}"))
        if end == "close":
            response.close()
        else:
            del response
            gc.collect()
        assert len(warnings(caplog, f"/{end}")) == 1
        assert _engine.connection_count() == quiet
        wait_until(lambda: not waiting_threads())
        # The socket is still the server's.
        server.sendall(b"x")
        assert client.recv(1) == b"x"
        server.close()
        client.close()

    @pytest.mark.parametrize("name", ["Streams", "Keeps"])
    def test_not_where_it_is_wrapped(self, site, caplog, name):
        running = site({"wrapped": echo}, MIDDLEWARE=[f"{HERE}.{name}"])
        with running.connect("wrapped") as connection:
            connection.send("hello")
            assert connection.recv(timeout=TIMEOUT) == "hello"
        assert warnings(caplog, "/wrapped") == []

    def test_and_kept_for_ever_holds_no_place(self, site, quiet, caplog, monkeypatch):
        monkeypatch.setattr(Hoards, "kept", [])
        running = site({"hoard": echo}, MIDDLEWARE=[f"{HERE}.Hoards"])
        response, _ = running.request("hoard", **HANDSHAKE)
        assert response.status == 200
        wait_until(lambda: warnings(caplog, "/hoard"))
        assert len(Hoards.kept) == 1
        wait_until(lambda: _engine.connection_count() <= quiet)
        wait_until(lambda: not waiting_threads())

    def test_and_used_for_another_request_is_an_error(self, site, monkeypatch, capfd):
        monkeypatch.setattr(Replays, "kept", {})
        running = site({"replay": echo}, MIDDLEWARE=[f"{HERE}.Replays"])
        with running.connect("replay") as connection:
            connection.send("hello")
            assert connection.recv(timeout=TIMEOUT) == "hello"
        [kept] = Replays.kept.values()
        # The server closes the response when the view talks already.
        wait_until(lambda: kept._handoff._over)
        response, _ = running.request("replay", **HANDSHAKE)
        assert response.status == 500
        assert "has kept the response" in capfd.readouterr().err

    def test_in_the_child_of_a_fork_is_no_news(self, finder, caplog):
        server, client = socket_pair()
        response = echo(environ(server, "/fork"))
        response._handoff._made_in = -1
        del response
        gc.collect()
        assert warnings(caplog, "/fork") == []
        server.close()
        client.close()


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert met


def waiting_threads():
    return [t for t in threading.enumerate() if t.name == "websocket-waiting"]


class Broken(WebSocketFactory):
    error: BaseException = ValueError("broken factory")

    def create_websocket(self, connection=None, **options):
        if connection is None:
            return None
        raise self.error


class Empty(WebSocketFactory):
    def create_websocket(self, connection=None, **options):
        return None


class TestAfterTheAdoption:
    """Whatever fails then is logged, and closes the connection."""

    def closing(self, finder, caplog):
        server, client = socket_pair()
        list(echo(environ(server)))
        server.close()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        with client:
            return Peer(client).closing().code

    @pytest.mark.parametrize("name", ["Broken", "Empty"])
    def test_a_factory_that_makes_none(self, finder, caplog, quiet, name):
        with override_settings(DWEBSOCKET={"FACTORY_CLASS": f"{HERE}.{name}"}):
            assert self.closing(finder, caplog) == 1011
        [record] = [r for r in caplog.records if r.name == "dwebsocket.view"]
        assert record.exc_info
        wait_until(lambda: not waiting_threads())

    @pytest.mark.parametrize(
        "error", [MemoryError("none left"), OSError("odd"), RuntimeError("odd")]
    )
    @pytest.mark.parametrize(
        ("module", "name"),
        [
            (threads.Seat, "run"),
            (threads.Threads, "enter"),
            (threads.Threads, "port"),
            (handoff, "_detach"),
            (handoff, "mark"),
        ],
    )
    def test_any_error(self, finder, caplog, quiet, monkeypatch, module, name, error):
        original = getattr(module, name)

        def fail(*arguments):
            if name == "mark" and len(arguments) < 3:
                return original(*arguments)
            raise type(error)(*error.args)

        monkeypatch.setattr(module, name, fail)
        assert self.closing(finder, caplog) == 1011
        [record] = [r for r in caplog.records if r.name == "dwebsocket.view"]
        assert "/" in record.getMessage()
        wait_until(lambda: gc.collect() is None or not waiting_threads())
        assert runners.join(TIMEOUT)

    def test_a_thread_that_has_ended_before_its_view(
        self, finder, caplog, quiet, monkeypatch, no_spare_threads
    ):
        ended = threading.Event()

        def die(*arguments):
            ended.set()

        # What a debugger or a profiler does in each thread may fail, too.
        monkeypatch.setattr(threads.Worker, "_run", die)
        server, client = socket_pair()
        response = echo(environ(server))
        assert ended.wait(TIMEOUT)
        response._handoff.seat._worker.thread.join(TIMEOUT)
        list(response)
        server.close()
        client.settimeout(TIMEOUT)
        with client:
            while client.recv(1) != b"\x88":
                pass
            # The length of the frame, and its code: 1011.
            assert client.recv(3) == b"\x02\x03\xf3"
        [record] = [r for r in caplog.records if r.name == "dwebsocket.view"]
        assert "has ended" in str(record.exc_info[1])
        assert runners.join(TIMEOUT)

    def test_even_what_ends_a_thread(self, finder, caplog, monkeypatch):
        monkeypatch.setattr(Broken, "error", SystemExit())
        server, client = socket_pair()
        with override_settings(DWEBSOCKET={"FACTORY_CLASS": f"{HERE}.Broken"}):
            response = echo(environ(server))
            with pytest.raises(SystemExit):
                list(response)
        client.settimeout(TIMEOUT)
        received = b""
        while data := client.recv(4096):
            received += data
            if b"\x03\xf3" in received:
                break
        assert b"\x03\xf3" in received
        server.close()
        client.close()

    def test_before_the_101_cuts_the_connection(self, caplog, monkeypatch):
        def leftover():
            raise LookupError("no leftover")

        server, client = socket_pair()
        found = ServerSocket(server.fileno(), leftover)
        monkeypatch.setattr(servers, "_registered", [lambda environ: found])
        list(echo(environ(server, "/leftover")))
        client.settimeout(TIMEOUT)
        assert client.recv(100) == b""
        assert "no leftover" in caplog.text
        assert [r.levelno for r in warnings(caplog, "/leftover")] == [logging.ERROR]
        server.close()
        client.close()

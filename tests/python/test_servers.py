from __future__ import annotations

import io
import socket
import ssl
import sys
import threading
import types

import pytest
from django.core.handlers.wsgi import LimitedStream
from django.test import override_settings
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from dwebsocket import SocketUnavailable, _engine, servers
from dwebsocket.servers import ServerSocket, base

from .peer import TIMEOUT, shake, socket_pair

REQUEST = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
EARLY = b"frames sent too early"


@pytest.fixture
def ends():
    server, client = socket_pair()
    yield server, client
    server.close()
    client.close()


def read_request(reader):
    """Read a request's head, as a server does; what follows stays in the buffer."""
    while reader.readline() != b"\r\n":
        pass


def streams(server):
    """Yield what servers put into ``wsgi.input``, and the reader it came from."""
    reader = server.makefile("rb")
    yield "wsgiref", reader, reader
    yield "runserver", LimitedStream(reader, 0), reader
    yield "pywsgi", types.SimpleNamespace(rfile=reader), reader
    inner = types.SimpleNamespace(rfile=reader)
    yield "cheroot", types.SimpleNamespace(rfile=inner), reader
    yield "older Django", types.SimpleNamespace(stream=reader), reader
    reader.close()


@pytest.mark.parametrize("number", range(5))
def test_the_socket_is_found_behind_the_stream_and_nothing_is_lost(ends, number):
    server, client = ends
    for position, (_, stream, reader) in enumerate(streams(server)):
        if position != number:
            continue
        client.sendall(REQUEST + EARLY)
        read_request(reader)
        found = servers.find({"wsgi.input": stream})
        assert found.fd == server.fileno()
        adoption = _engine.adopt(found.fd)
        assert found.leftover() == EARLY
        assert found.leftover() == b""
        del adoption


def test_gunicorns_parser_gives_back_what_it_read_too_much(ends):
    server, client = ends
    client.sendall(REQUEST + EARLY)
    request = next(RequestParser(Config(), server, ("127.0.0.1", 1)))
    found = servers.find({"gunicorn.socket": server, "wsgi.input": request.body})
    assert found.fd == server.fileno()
    assert found.leftover() == EARLY
    assert found.leftover() == b""


def test_gunicorns_socket_does_without_its_parser(ends):
    server, _ = ends
    found = servers.find({"gunicorn.socket": server, "wsgi.input": io.BytesIO()})
    assert (found.fd, found.leftover()) == (server.fileno(), b"")


def test_a_socket_of_eventlet_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "eventlet", types.ModuleType("eventlet"))
    green = type("GreenSocket", (), {"__module__": "eventlet.greenio"})()
    with pytest.raises(SocketUnavailable, match="gthread"):
        servers.find({"gunicorn.socket": green})


def test_werkzeugs_socket_is_found(ends):
    server, _ = ends
    assert servers.find({"werkzeug.socket": server}).fd == server.fileno()


def test_a_stream_with_a_bare_socket_is_found(ends):
    server, _ = ends
    stream = types.SimpleNamespace(_sock=server)
    assert servers.find({"wsgi.input": stream}).fd == server.fileno()


class Channel:
    """As much of waitress's channel as counts here."""

    def __init__(self, sock, lookahead=0, ahead=b""):
        self.socket = sock
        self.adj = types.SimpleNamespace(channel_request_lookahead=lookahead)
        self.requests_lock = threading.Lock()
        self.request = types.SimpleNamespace(header_plus=ahead) if ahead else None

    def check_client_disconnected(self):
        return False


class TestWaitress:
    def test_the_channels_socket_is_found(self, ends):
        server, _ = ends
        channel = Channel(server, ahead=EARLY)
        environ = {"waitress.client_disconnected": channel.check_client_disconnected}
        found = servers.find(environ)
        assert found.fd == server.fileno()
        assert found.leftover() == EARLY
        assert channel.request is None
        assert found.leftover() == b""

    def test_reading_ahead_is_refused(self, ends):
        channel = Channel(ends[0], lookahead=1)
        environ = {"waitress.client_disconnected": channel.check_client_disconnected}
        with pytest.raises(SocketUnavailable, match="channel_request_lookahead"):
            servers.find(environ)


class TestUwsgi:
    @pytest.fixture
    def uwsgi(self, monkeypatch):
        module = types.ModuleType("uwsgi")
        module.connection_fd = lambda: 42
        module.opt = {"enable-threads": True, b"http-socket": b":8000"}
        monkeypatch.setitem(sys.modules, "uwsgi", module)
        return module

    def test_the_connections_fd_is_found(self, uwsgi):
        found = servers.find({"uwsgi.version": b"2.0"})
        assert (found.fd, found.leftover()) == (42, b"")

    @pytest.mark.parametrize(
        ("options", "advice"),
        [
            ({"http-socket": b":8000"}, "--enable-threads"),
            ({b"threads": b"2", "http": b":8000"}, "--http-websockets"),
            ({"threads": b"2", "https-socket": b":8443"}, "proxy"),
            ({"enable-threads": True, "gevent": b"10"}, "gunicorn"),
        ],
    )
    def test_options_that_cannot_work_are_refused(self, uwsgi, options, advice):
        uwsgi.opt = options
        with pytest.raises(SocketUnavailable, match=advice):
            servers.find({"uwsgi.version": b"2.0"})

    @pytest.mark.parametrize("router", ["http-websockets", "http-raw-body"])
    def test_a_router_in_raw_mode_is_fine(self, uwsgi, router):
        uwsgi.opt = {"threads": b"2", "http": b":8000", router: True}
        assert servers.find({"uwsgi.version": b"2.0"}).fd == 42

    def test_another_server_may_set_the_version(self, monkeypatch, ends):
        monkeypatch.delitem(sys.modules, "uwsgi", raising=False)
        environ = {"uwsgi.version": b"2.0", "werkzeug.socket": ends[0]}
        assert servers.find(environ).fd == ends[0].fileno()


def test_mod_wsgi_is_refused_with_what_to_do():
    with pytest.raises(SocketUnavailable, match="mod_proxy"):
        servers.find({"mod_wsgi.version": (5, 0)})


def test_an_unknown_server_is_refused_with_what_to_do():
    with pytest.raises(SocketUnavailable, match="gunicorn.*SERVERS"):
        servers.find({"wsgi.input": io.BytesIO()})


def test_a_socket_wrapped_in_tls_is_refused_with_what_to_do(ends):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wrapped = context.wrap_socket(
        ends[0], server_side=True, do_handshake_on_connect=False
    )
    with wrapped, pytest.raises(SocketUnavailable, match="proxy"):
        servers.find({"gunicorn.socket": wrapped})


def test_a_closed_socket_is_not_found():
    sock = socket.socket()
    sock.close()
    assert servers.from_socket(sock) is None


def test_only_gevents_sockets_have_gevents_epoll(ends, monkeypatch):
    loop = types.SimpleNamespace(fileno=lambda: 7)
    gevent = types.SimpleNamespace(get_hub=lambda: types.SimpleNamespace(loop=loop))
    monkeypatch.setitem(sys.modules, "gevent", gevent)
    green = type("socket", (), {"__module__": "gevent._socket3"})()
    assert base.gevent_epoll(ends[0]) is None
    assert base.gevent_epoll(green) == 7
    del loop.fileno
    assert base.gevent_epoll(green) is None


def test_a_reader_that_cannot_be_read_any_more_has_no_leftover(ends):
    reader = ends[0].makefile("rb")
    reader.close()
    assert base.buffered(reader)() == b""


def own_finder(environ):
    """Find a socket under the project's own key."""
    number = environ.get("own.fd")
    return None if number is None else ServerSocket(number)


class TestRegistry:
    def test_a_setting_names_finders_that_go_first(self, ends):
        environ = {"own.fd": 99, "werkzeug.socket": ends[0]}
        path = "tests.python.test_servers.own_finder"
        with override_settings(DWEBSOCKET={"SERVERS": [path]}):
            assert servers.find(environ).fd == 99
            del environ["own.fd"]
            assert servers.find(environ).fd == ends[0].fileno()

    def test_register_adds_a_finder_once(self, monkeypatch):
        registered = []
        monkeypatch.setattr(servers, "_registered", registered)
        assert servers.register(own_finder) is own_finder
        servers.register(own_finder)
        assert registered == [own_finder]
        assert servers.find({"own.fd": 98}).fd == 98


def test_bytes_sent_too_early_reach_the_view(ends):
    server, client = ends
    options = _engine.Options(text_as_bytes=True)
    handshake = shake(options)
    client.sendall(REQUEST + b"\x81\x82\0\0\0\0hi")
    reader = server.makefile("rb")
    read_request(reader)
    found = servers.find({"wsgi.input": reader})
    adoption = _engine.adopt(found.fd)
    connection = adoption.start(
        handshake.response(None, []),
        found.leftover(),
        handshake,
        options,
        _engine.reserve(1_000_000),
    )
    assert connection.receive(TIMEOUT) == b"hi"
    reader.close()

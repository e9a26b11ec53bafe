from __future__ import annotations

import contextlib
import io
import os
import socket
import ssl
import sys
import threading
import types
import weakref

import pytest
from django.core.handlers.wsgi import LimitedStream
from django.test import RequestFactory, override_settings
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from dwebsocket import HandshakeError, SocketUnavailable, _engine, servers
from dwebsocket.servers import (
    ClientGone,
    Held,
    ServerSocket,
    SocketBusy,
    base,
)
from dwebsocket.servers import uwsgi as server_of_uwsgi
from dwebsocket.servers import waitress as server_of_waitress
from tests.python.peer import TIMEOUT, in_thread, shake, socket_pair

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


def test_gunicorn_waits_for_no_request_on_an_adopted_connection(ends):
    server, client = ends
    client.sendall(REQUEST)
    parser = RequestParser(Config(), server, ("127.0.0.1", 1))
    environ = {"gunicorn.socket": server, "wsgi.input": next(parser).body}
    found = servers.find(environ)
    assert parser.finish_body()
    found.leftover()
    # gunicorn closes a connection whose next request it cannot find.
    assert not parser.finish_body()


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

    connected = True
    total_outbufs_len = 0

    def __init__(self, sock, lookahead=0, ahead=b"", recorded=None):
        self.socket = sock
        self.adj = types.SimpleNamespace(channel_request_lookahead=lookahead)
        self.requests_lock = threading.Lock()
        self.outbuf_lock = threading.Condition()
        self.request = types.SimpleNamespace(header_plus=ahead) if ahead else None
        self.requests = [types.SimpleNamespace(chunked=False, ahead=recorded)]
        self.server = types.SimpleNamespace(pull_trigger=self.flush)
        self.flushes = 0

    def check_client_disconnected(self):
        return False

    def flush(self):
        """Note that waitress's own thread was asked to write."""
        self.flushes += 1

    @property
    def environ(self):
        return {"waitress.client_disconnected": self.check_client_disconnected}


class TestWaitress:
    def test_the_channels_socket_is_found(self, ends):
        server, _ = ends
        channel = Channel(server, ahead=EARLY)
        found = servers.find(channel.environ)
        assert found.fd == server.fileno()
        assert found.leftover() == EARLY
        assert channel.request is None
        assert found.leftover() == b""

    def test_what_its_parser_took_for_requests_is_given_back(self, ends):
        channel = Channel(ends[0], ahead=b"the end", recorded=b"all of it, the end")
        closed = []
        other = types.SimpleNamespace(close=lambda: closed.append(True))
        channel.requests.append(other)
        found = servers.find(channel.environ)
        assert found.leftover() == b"all of it, the end"
        assert len(channel.requests) == 1
        assert closed

    def test_what_its_parser_has_forgotten_is_not_lost_in_silence(self, ends):
        channel = Channel(ends[0])
        channel.requests.append(types.SimpleNamespace())
        with pytest.raises(HandshakeError, match="wait for the answer") as caught:
            servers.find(channel.environ)
        assert caught.value.status == 400

    def test_a_chunked_body_is_refused(self, ends):
        channel = Channel(ends[0])
        channel.requests[0].chunked = True
        with pytest.raises(HandshakeError, match="no body"):
            servers.find(channel.environ)

    def test_nothing_is_taken_before_earlier_output_is_sent(self, ends):
        channel = Channel(ends[0])
        channel.total_outbufs_len = 5
        found = servers.find(channel.environ)
        guarded = in_thread(lambda: Held(found))
        for _ in range(3):
            with channel.outbuf_lock:
                assert channel.outbuf_lock.wait_for(lambda: channel.flushes, TIMEOUT)
                channel.outbuf_lock.notify_all()
                channel.total_outbufs_len -= 1
        with channel.outbuf_lock:
            channel.total_outbufs_len = 0
            channel.outbuf_lock.notify_all()
        assert isinstance(guarded(), Held)

    def test_a_client_that_does_not_read_is_refused(self, ends, monkeypatch):
        monkeypatch.setattr(server_of_waitress, "FLUSH_TIMEOUT", 0.05)
        channel = Channel(ends[0])
        channel.total_outbufs_len = 5
        with pytest.raises(SocketBusy):
            Held(servers.find(channel.environ))

    def test_a_client_that_is_gone_is_no_error(self, ends):
        channel = Channel(ends[0])
        found = servers.find(channel.environ)
        held = Held(found)
        channel.connected = False
        with pytest.raises(ClientGone):
            Held(found)
        with pytest.raises(ClientGone):
            held.adopt()
        channel.socket = None
        with pytest.raises(ClientGone):
            servers.find(channel.environ)

    def test_the_channel_cannot_be_closed_while_its_socket_is_taken(self, ends):
        channel = Channel(ends[0])
        found = servers.find(channel.environ)
        with found.guard():
            other = in_thread(lambda: channel.outbuf_lock.acquire(blocking=False))
            assert other() is False

    def test_reading_ahead_is_refused(self, ends):
        channel = Channel(ends[0], lookahead=1)
        with pytest.raises(SocketUnavailable, match="channel_request_lookahead"):
            servers.find(channel.environ)


class TestHeld:
    def test_a_number_that_means_another_socket_is_left_alone(self, ends):
        server, client = ends
        number = server.fileno()
        held = Held(ServerSocket(number))
        stranger, friend = socket_pair()
        os.dup2(stranger.fileno(), number)
        with pytest.raises(OSError, match="closed this connection"):
            held.adopt()
        friend.sendall(b"untouched")
        assert server.recv(99) == b"untouched"
        # And the descriptor of our own is closed.
        assert client.recv(99) == b""
        stranger.close()
        friend.close()

    def test_a_number_that_is_closed_is_an_error(self, ends):
        server, client = ends
        held = Held(ServerSocket(server.fileno()))
        server.close()
        with pytest.raises(OSError, match="."):
            held.adopt()
        assert client.recv(99) == b""

    def test_a_socket_object_that_has_let_go_of_its_number_is_asked(self, ends):
        server, _ = ends
        found = servers.from_socket(server)
        held = Held(found)
        number = server.detach()
        with pytest.raises(OSError, match="closed this connection"):
            held.adopt()
        with pytest.raises(OSError, match="closed this connection"):
            Held(found)
        os.close(number)

    def test_closing_it_leaves_the_servers_socket_open(self, ends):
        server, client = ends
        held = Held(servers.from_socket(server))
        held.close()
        held.close()
        client.sendall(b"hello")
        assert server.recv(99) == b"hello"
        with pytest.raises(OSError, match="."):
            held.adopt()

    def test_dropping_it_closes_the_descriptor(self, ends):
        server, client = ends
        held = Held(ServerSocket(server.fileno()))
        server.close()
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        del held
        client.settimeout(TIMEOUT)
        assert client.recv(1) == b""

    def test_the_guard_holds_when_it_is_made_and_when_it_is_adopted(self, ends):
        entered = []

        @contextlib.contextmanager
        def guard():
            entered.append(True)
            yield

        held = Held(ServerSocket(ends[0].fileno(), lambda: EARLY, None, None, guard))
        assert len(entered) == 1
        adoption = held.adopt()
        assert len(entered) == 2
        assert held.leftover() == EARLY
        assert held.leftover() == b""
        del adoption

    def test_the_servers_number_is_not_inherited(self, ends):
        server, _ = ends
        adoption = Held(ServerSocket(server.fileno())).adopt()
        assert not os.get_inheritable(server.fileno())
        del adoption

    def test_the_end_of_the_request_closes_it(self, ends):
        server, client = ends
        request = RequestFactory().get("/")
        wrapper = types.SimpleNamespace(_request=request)
        held = Held(ServerSocket(server.fileno()))
        base.release_with(wrapper, held)
        server.close()
        freed = weakref.ref(request)
        request.close()
        assert client.recv(1) == b""
        del request, wrapper
        assert freed() is None


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

    @pytest.mark.parametrize("off", [b"false", b"False", b"off", b"no", b"0"])
    @pytest.mark.parametrize(
        ("options", "advice"),
        [
            ({"threads": b"2", "http": b":8000"}, "--http-websockets"),
            ({"threads": b"2", "https": b":8443,c,k"}, "--http-websockets"),
            ({"http-socket": b":8000"}, "--enable-threads"),
        ],
    )
    def test_an_option_that_is_switched_off_counts_as_absent(
        self, uwsgi, options, advice, off
    ):
        switched = {"enable-threads": off} if "threads" not in options else {}
        switched |= {"http-websockets": off, b"http-raw-body": off, "gevent": off}
        uwsgi.opt = options | switched
        with pytest.raises(SocketUnavailable, match=advice):
            servers.find({"uwsgi.version": b"2.0"})

    @pytest.mark.parametrize(
        ("values", "on"),
        [
            ([b"false", b"true"], True),
            ([b"true", b"false"], False),
            ([True], True),
            (b"", True),
            (b"yes", True),
            (True, True),
        ],
    )
    def test_of_several_values_the_last_one_holds(self, uwsgi, values, on):
        uwsgi.opt = {"threads": b"2", "http": b":8000", "http-raw-body": values}
        if on:
            assert servers.find({"uwsgi.version": b"2.0"}).fd == 42
            return
        with pytest.raises(SocketUnavailable, match="--http-websockets"):
            servers.find({"uwsgi.version": b"2.0"})

    @pytest.mark.parametrize(
        ("options", "attributes", "advice"),
        [
            ({"enable-threads": True, "threads": b"0"}, {"has_threads": 0}, "threads"),
            ({"enable-threads": b"off", "threads": b"0"}, {}, "--enable-threads"),
            ({"enable-threads": True}, {"loop": b"asyncio"}, "gunicorn"),
            ({"enable-threads": True, "async": b"5"}, {}, "gunicorn"),
        ],
    )
    def test_what_uwsgi_says_of_itself_decides(
        self, uwsgi, options, attributes, advice
    ):
        uwsgi.opt = options
        for name, value in attributes.items():
            setattr(uwsgi, name, value)
        with pytest.raises(SocketUnavailable, match=advice):
            servers.find({"uwsgi.version": b"2.0"})

    @pytest.mark.parametrize(
        ("options", "warning"),
        [
            ({"cheaper": b"1"}, "--cheaper"),
            ({"idle": b"60"}, "--idle"),
            ({"max-requests": b"5000"}, "--max-requests"),
            ({"max-worker-lifetime": b"3600"}, "--max-worker-lifetime"),
            ({"reload-on-rss": b"300"}, "--reload-on-rss"),
            ({"reload-on-as": [b"0", b"300"]}, "--reload-on-as"),
            ({"evil-reload-on-rss": b"300"}, "--evil-reload-on-rss"),
            ({"reload-on-exception": True}, "--reload-on-exception"),
            ({"max-requests": b"0", "max-requests-delta": b"5"}, None),
            ({"http": b":8000", "http-websockets": True}, "--http-raw-body"),
            ({"cheaper": b"0", "async": b"1", "gevent": b"no"}, None),
            ({"http": b":8000", "http-raw-body": True}, None),
        ],
    )
    def test_options_that_cost_something_are_a_warning_once(
        self, uwsgi, caplog, options, warning
    ):
        server_of_uwsgi._warn.cache_clear()
        uwsgi.opt = {"threads": b"2", **options}
        for _ in range(2):
            assert servers.find({"uwsgi.version": b"2.0"}).fd == 42
        found = [r.getMessage() for r in caplog.records]
        assert len(found) == (warning is not None)
        assert warning is None or warning in found[0]

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


def test_a_socket_itself_is_taken_for_what_its_server_knows_of_it(ends):
    server, _ = ends
    found = servers.find({"gunicorn.socket": server})
    assert servers.known({}, found) is found
    known = servers.known({"gunicorn.socket": server}, server)
    assert (known.fd, known.leftover.__module__) == (
        found.fd,
        found.leftover.__module__,
    )
    # Of a server that nobody knows.
    assert servers.known({}, server) == servers.from_socket(server)
    server.close()
    with pytest.raises(SocketUnavailable, match="closed"):
        servers.known({}, server)


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
        path = "tests.python.servers.test_servers.own_finder"
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

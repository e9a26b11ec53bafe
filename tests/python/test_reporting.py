from __future__ import annotations

import contextlib
import logging
import sys
import threading
from contextlib import contextmanager

import pytest
from django import VERSION
from django.core import mail
from django.core.signals import got_request_exception
from django.http import Http404, HttpResponseRedirect
from django.test import RequestFactory
from websockets.exceptions import ConnectionClosed

from dwebsocket import reporting, runners, websocket
from dwebsocket.session import Session

from .live import HANDSHAKE
from .peer import TIMEOUT

#: Since Django 6.0, addresses alone; pairs with names before.
ADMIN = "admin@example.com"
ADMINS = {"ADMINS": [ADMIN if VERSION >= (6,) else ("admin", ADMIN)], "DEBUG": False}


class Collector(logging.StreamHandler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@contextmanager
def handling(name, handler, **attributes):
    """Give a logger a handler for a while."""
    logger = logging.getLogger(name)
    before = {key: getattr(logger, key) for key in attributes}
    logger.addHandler(handler)
    for key, value in attributes.items():
        setattr(logger, key, value)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        for key, value in before.items():
            setattr(logger, key, value)


def fail(name="dwebsocket.view", text="the reason"):
    request = RequestFactory().get("/path")
    try:
        raise ValueError(text)
    except ValueError:
        reporting.report(
            logging.getLogger(name), "Error in %s", "a view", request=request
        )
    return request


class TestTheLog:
    @pytest.fixture(autouse=True)
    def bare(self):
        """Have no handler but the test's own."""
        with (
            handling("django", Collector(), handlers=[], propagate=False),
            handling("dwebsocket", Collector(), handlers=[], propagate=False),
        ):
            yield

    @pytest.mark.parametrize(
        "names",
        [
            ["dwebsocket.view"],
            ["dwebsocket"],
            ["django"],
            ["django.request"],
            ["dwebsocket", "django"],
            ["dwebsocket.view", "django.request"],
        ],
    )
    def test_each_handler_gets_it_once(self, names, capsys):
        collectors = [Collector() for _ in names]
        with contextlib_stack(zip(names, collectors, strict=True)):
            request = fail()
        for collector in collectors:
            [record] = collector.records
            assert record.getMessage() == "Error in a view"
            assert record.name == "dwebsocket.view"
            assert record.request is request
            assert record.funcName == "fail"
            assert record.exc_info[0] is ValueError
        assert capsys.readouterr().err == ""

    def test_a_handler_of_both_gets_it_once(self):
        shared = Collector()
        with handling("dwebsocket", shared), handling("django", shared):
            fail()
        assert len(shared.records) == 1

    def test_without_any_it_goes_to_stderr(self, capsys):
        fail()
        assert capsys.readouterr().err.count("Traceback") <= 1

    def test_mail_alone_does_not_take_it_from_stderr(self, capsys):
        class Mail(logging.Handler):
            count = 0

            def emit(self, record):
                Mail.count += 1

        with handling("django", Mail()):
            fail()
        assert Mail.count == 1

    def test_levels_and_disabled_loggers_are_respected(self):
        own, djangos = Collector(), Collector()
        djangos.setLevel(logging.CRITICAL)
        with (
            handling("dwebsocket.view", own, disabled=True),
            handling("django.request", djangos),
        ):
            fail()
        assert own.records == djangos.records == []
        djangos.setLevel(logging.ERROR)
        with (
            handling("dwebsocket.view", own, disabled=True),
            handling("django.request", djangos),
        ):
            fail()
        assert (len(own.records), len(djangos.records)) == (0, 1)


def contextlib_stack(pairs):
    stack = contextlib.ExitStack()
    for name, handler in pairs:
        stack.enter_context(handling(name, handler))
    return stack


@pytest.fixture
def received():
    """Note what error trackers would."""
    got = []

    def receive(sender, request, **kwargs):
        got.append((sender, request, sys.exc_info()[1], threading.current_thread()))

    got_request_exception.connect(receive)
    yield got
    got_request_exception.disconnect(receive)


def talk(running):
    """Send one message, and wait until the view has ended."""
    from dwebsocket import runners

    with running.connect() as connection, contextlib.suppress(ConnectionClosed):
        connection.send("x")
        connection.recv(timeout=TIMEOUT)
    assert runners.join(TIMEOUT)


class TestErrorsOfViews:
    def failing(self, site, **settings):
        @websocket
        def view(request):
            request.websocket.wait()
            raise ValueError("the reason")

        return site({"": view}, **settings)

    def test_admins_get_one_mail(self, site):
        # By Django's own handler, which a project has that does not set LOGGING.
        talk(self.failing(site, **ADMINS))
        [message] = mail.outbox
        assert message.recipients() == ["admin@example.com"]
        assert "Error in the WebSocket view of /" in message.subject
        assert "the reason" in message.body
        assert "REQUEST_METHOD" in message.body

    def test_trackers_of_errors_hear_of_it_once(self, site, received, caplog):
        talk(self.failing(site))
        [(sender, request, error, thread)] = received
        assert sender is None
        assert request.path == "/"
        assert str(error) == "the reason"
        assert thread.name.startswith("websocket-")
        # What such a tracker looks at.
        assert (request.POST, request.FILES, request.body) == ({}, {}, b"")
        assert request.read() == b""
        assert request.META["REQUEST_METHOD"] == "GET"
        assert request.build_absolute_uri().endswith("/")
        assert caplog.text.count("Traceback") == 1

    def test_a_receiver_that_fails_disturbs_nobody(self, site, caplog):
        def receive(**kwargs):
            raise OSError("the tracker is away")

        got_request_exception.connect(receive)
        try:
            talk(self.failing(site))
        finally:
            got_request_exception.disconnect(receive)
        assert "the reason" in caplog.text
        assert "the tracker is away" in caplog.text

    @pytest.mark.parametrize("kind", ["session", "command"])
    def test_siblings_are_told_too(self, site, received, kind):
        class Broken(Session):
            def on_data(self, data):
                raise ValueError("the reason")

        @websocket
        def view(request):
            if kind == "command":
                request.websocket.wait()
                Broken(request.websocket, request)._answer('{"type": "data"}')
                return

            def save():
                raise ValueError("the reason")

            request.session.save = save
            request.session.modified = True

        engine = "django.contrib.sessions.backends.signed_cookies"
        talk(site({"": view}, SESSION_ENGINE=engine))
        [(_, _, error, _)] = received
        assert str(error) == "the reason"

    def test_what_rest_framework_wraps_is_unwrapped(self, received):
        class Wrapper:
            pass

        wrapper = Wrapper()
        wrapper._request = RequestFactory().get("/inner")
        try:
            raise ValueError
        except ValueError:
            reporting.report(logging.getLogger("test"), "x", request=wrapper)
        assert received[0][1].path == "/inner"

    def test_refusals_are_no_errors(self, site, received):
        from django.core.exceptions import PermissionDenied

        @websocket
        def view(request):
            raise PermissionDenied

        talk(site({"": view}, **ADMINS))
        assert received == []
        assert mail.outbox == []


FORGED = "room%0AERROR:%20forged%E2%80%A8%1B[2J"


def _hang_up(request, rest):
    raise Http404(f"no room {rest}")


def _fails(request, rest):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "view",
    [
        _hang_up,
        _fails,
        lambda request, rest: HttpResponseRedirect("/login"),
        lambda request, rest: request.session.save(),
    ],
    ids=["refuses", "fails", "redirects", "has-no-session"],
)
def test_no_visitor_forges_a_line_of_the_log(site, caplog, view):
    running = site({"<str:rest>": websocket(view)})
    with running.connect(FORGED) as connection, pytest.raises(ConnectionClosed):
        connection.recv(timeout=10)
    assert runners.join(10)
    _check_lines(caplog.records)


def test_no_refused_visitor_forges_a_line_of_the_log(site, caplog):
    running = site({"<str:rest>": websocket(_fails)})
    lost = {k: v for k, v in HANDSHAKE.items() if k not in ("Upgrade", "Connection")}
    running.request(FORGED, **lost)
    running.request(FORGED, **HANDSHAKE, Origin="https://evil.example")
    running.request(FORGED, **{**HANDSHAKE, "Sec_WebSocket_Key": "short"})
    # What Django's own loggers say is not of this package.
    _check_lines([r for r in caplog.records if "dwebsocket" in r.name])


def _check_lines(records):
    lines = [record.getMessage() for record in records]
    assert any("forged" in line for line in lines)
    for line in lines:
        assert len(line.splitlines()) == 1, line
        assert "\x1b" not in line

from __future__ import annotations

import logging
import resource
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import (
    Http404,
    HttpResponse,
    HttpResponseForbidden,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.test import RequestFactory, override_settings
from rest_framework.response import Response
from websockets.exceptions import ConnectionClosed

from dwebsocket import runners, websocket
from dwebsocket.context import RequestContext
from dwebsocket.runners import Call

from .peer import TIMEOUT

LOGGER = "dwebsocket.view"


def run(pair, view, request=None, **options):
    """Run a view in a thread of its own; return its WebSocket and the peer."""
    socket, peer = pair(**options)
    request = request or RequestFactory().get("/path")
    request.websocket = socket
    call = Call(view, request, (request,), {})
    runners.start(RequestContext(), call, socket, runners.kind())
    return socket, peer


def logged(caplog):
    assert runners.join(TIMEOUT)
    return [record for record in caplog.records if record.name == LOGGER]


class TestTheEnd:
    @pytest.mark.parametrize(
        "value", [None, HttpResponse("ignored"), HttpResponse(status=204), 42]
    )
    def test_returning_closes_with_1000(self, pair, caplog, value):
        _, peer = run(pair, lambda request: value)
        assert peer.closing().code == 1000
        assert logged(caplog) == []

    @pytest.mark.parametrize(
        "value",
        [
            HttpResponseRedirect("/login/"),
            HttpResponseForbidden(),
            HttpResponseNotAllowed(["POST"]),
            JsonResponse({"detail": "slow down"}, status=429),
            Response({"detail": "no"}, status=401),
            StreamingHttpResponse(iter(()), status=404),
        ],
        ids=lambda value: str(value.status_code),
    )
    def test_a_response_that_refuses_closes_with_1008(self, pair, caplog, value):
        def refusing(request):
            return value

        _, peer = run(pair, refusing)
        close = peer.closing()
        assert (close.code, close.reason) == (1008, f"refused ({value.status_code})")
        [record] = logged(caplog)
        assert record.levelno == logging.WARNING
        assert "refusing" in record.getMessage()
        assert "above the WebSocket's decorator" in record.getMessage()

    def test_a_response_that_fails_closes_with_1011(self, pair, caplog):
        _, peer = run(pair, lambda request: HttpResponse(status=503))
        assert peer.closing().code == 1011
        [record] = logged(caplog)
        assert record.levelno == logging.ERROR

    def test_a_response_after_the_views_own_close_is_ignored(self, pair, caplog):
        def view(request):
            request.websocket.close(4003, "mine")
            return HttpResponse(status=403)

        _, peer = run(pair, view)
        assert peer.closing().code == 4003
        assert logged(caplog) == []

    def test_a_response_after_the_peers_close_is_ignored(self, pair, caplog):
        def view(request):
            while request.websocket.wait() is not None:
                pass
            return HttpResponse("please connect with a WebSocket", status=400)

        _, peer = run(pair, view)
        peer.close(1000)
        assert peer.closing().code == 1000
        assert logged(caplog) == []

    def test_an_exception_is_logged_once_and_closes_with_1011(self, pair, caplog):
        def view(request):
            raise ValueError("the reason")

        other, other_peer = pair()
        _, peer = run(pair, view)
        assert peer.closing().code == 1011
        [record] = logged(caplog)
        assert record.levelno == logging.ERROR
        assert "/path" in record.getMessage()
        assert record.request.path == "/path"
        assert "the reason" in caplog.text
        assert "Traceback" in caplog.text
        other_peer.send("untouched")
        assert other.wait() == b"untouched"

    @pytest.mark.parametrize("error", [Http404, PermissionDenied, SuspiciousOperation])
    def test_a_refusal_is_one_line_and_closes_with_1008(self, pair, caplog, error):
        def view(request):
            raise error("not for you")

        _, peer = run(pair, view)
        assert peer.closing().code == 1008
        [record] = logged(caplog)
        assert record.levelno == logging.WARNING
        assert "not for you" in record.getMessage()
        assert record.exc_info is None

    def test_a_peer_that_has_gone_is_no_error(self, pair, caplog):
        def view(request):
            while True:
                request.websocket.receive()

        _, peer = run(pair, view)
        peer.close(1001)
        assert peer.closing().code == 1001
        assert logged(caplog) == []

    def test_an_eof_that_is_overlooked_is_an_error(self, pair, caplog):
        def view(request):
            while True:
                request.websocket.wait()

        _, peer = run(pair, view)
        peer.close()
        assert peer.closing().code == 1000
        [record] = logged(caplog)
        assert "WebSocketEOF" in caplog.text

    def test_system_exit_closes_with_1001(self, pair, caplog):
        def view(request):
            sys.exit()

        _, peer = run(pair, view)
        assert peer.closing().code == 1001
        assert logged(caplog) == []

    def test_an_async_view_in_disguise_is_an_error(self, pair, caplog):
        async def coroutine(request):
            pass

        _, peer = run(pair, lambda request: coroutine(request))
        assert peer.closing().code == 1011
        logged(caplog)
        assert "async def" in caplog.text

    def test_a_close_of_the_views_own_stays(self, pair):
        _, peer = run(pair, lambda request: request.websocket.close(4000, "mine"))
        assert peer.closing().code == 4000

    def test_the_websocket_can_be_sent_to_afterwards(self, pair):
        socket, peer = run(pair, lambda request: None)
        peer.closing()
        assert runners.join(TIMEOUT)
        assert socket.send("into the void") is False


class Session(SimpleNamespace):
    modified = False

    def save(self):
        self.saved = True


class TestSession:
    def with_session(self, pair, view, session):
        request = RequestFactory().get("/path")
        request.session = session
        _, peer = run(pair, view, request)
        peer.closing()
        return session

    def test_is_saved_if_modified(self, pair):
        def view(request):
            request.session.modified = True

        assert self.with_session(pair, view, Session()).saved is True

    def test_is_saved_before_the_peer_hears_of_the_end(self, pair):
        class Slow(Session):
            def save(self):
                time.sleep(0.05)
                self.saved = True

        slow = Slow(modified=True)
        assert self.with_session(pair, lambda request: None, slow).saved is True

    def test_is_left_alone_if_not(self, pair):
        session = self.with_session(pair, lambda request: None, Session())
        assert not hasattr(session, "saved")

    def test_that_cannot_be_saved_is_logged(self, pair, caplog):
        class Broken(Session):
            def save(self):
                raise OSError("disk full")

        self.with_session(pair, lambda request: None, Broken(modified=True))
        [record] = logged(caplog)
        assert "session" in record.getMessage()

    @pytest.mark.django_db(transaction=True)
    def test_a_change_of_the_view_goes_into_a_real_one(self, site):
        from django.contrib.sessions.backends.signed_cookies import SessionStore

        store = SessionStore()
        store["before"] = 1
        store.save()

        saved = {}

        @websocket
        def view(request):
            request.session["during"] = request.session["before"] + 1
            request.session.save = lambda: saved.update(request.session.items())

        engine = "django.contrib.sessions.backends.signed_cookies"
        running = site({"": view}, SESSION_ENGINE=engine)
        cookie = {"Cookie": f"sessionid={store.session_key}"}
        with (
            running.connect(additional_headers=cookie) as connection,
            pytest.raises(ConnectionClosed, match="1000"),
        ):
            connection.recv(timeout=TIMEOUT)
        assert saved == {"before": 1, "during": 2}


class TestThreads:
    def test_a_view_has_a_named_daemon_thread_of_its_own(self, pair):
        threads = []
        socket, peer = run(pair, lambda r: threads.append(threading.current_thread()))
        peer.closing()
        [thread] = threads
        assert thread is not threading.current_thread()
        assert thread.daemon is True
        assert thread.name == f"websocket-{socket.id}"

    def test_the_stack_size_of_other_threads_stays(self, pair):
        before = threading.stack_size()
        with override_settings(DWEBSOCKET={"THREAD_STACK_SIZE": 262_144}):
            _, peer = run(pair, lambda request: None)
        assert peer.closing().code == 1000
        assert threading.stack_size() == before

    def test_the_systems_stack_size_may_be_asked_for(self, pair):
        with override_settings(DWEBSOCKET={"THREAD_STACK_SIZE": 0}):
            _, peer = run(pair, lambda request: None)
        assert peer.closing().code == 1000

    def test_the_default_stack_bears_a_deep_recursion(self, pair):
        import json

        outcome = []

        def deep(request):
            def descend():
                descend()

            nested = []
            for _ in range(100_000):
                nested = [nested]
            actions = (
                descend,
                lambda: json.loads("[" * 100_000),
                lambda: json.loads('{"a":' * 100_000, object_hook=dict),
                lambda: json.dumps(nested),
                lambda: repr(nested),
            )
            for action in actions:
                with pytest.raises(RecursionError):
                    action()
            outcome.append("survived")

        _, peer = run(pair, deep)
        assert peer.closing().code == 1000
        assert outcome == ["survived"]

    def test_without_a_thread_the_peer_is_asked_to_come_back(
        self, pair, caplog, monkeypatch
    ):
        def refuse(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        _, peer = run(pair, lambda request: None)
        assert peer.closing().code == 1013
        [record] = logged(caplog)
        assert "/path" in record.getMessage()

    def test_join_waits_for_every_view(self, pair):
        release = threading.Event()
        _, peer = run(pair, lambda request: release.wait(TIMEOUT))
        assert runners.join(0.05) is False
        release.set()
        assert runners.join(TIMEOUT) is True
        peer.closing()

    def test_the_size_of_the_stack_is_not_memory(self, pair):
        release = threading.Event()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with override_settings(DWEBSOCKET={"THREAD_STACK_SIZE": 16 * 1024 * 1024}):
            for _ in range(20):
                run(pair, lambda request: release.wait(TIMEOUT))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        release.set()
        assert runners.join(TIMEOUT)
        assert after - before < 20 * 1024


def test_what_the_engine_has_to_log_is_logged(monkeypatch, caplog):
    lines = [(logging.WARNING, "one"), (logging.ERROR, "two")]
    monkeypatch.setattr(runners._engine, "drain_log", lambda: lines)
    runners.log_engine()
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == lines
    assert {r.name for r in caplog.records} == {"dwebsocket.engine"}

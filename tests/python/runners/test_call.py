from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import django
import pytest
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
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
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import cache_control, cache_page, never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.gzip import gzip_page
from django.views.decorators.vary import vary_on_headers
from rest_framework.response import Response
from websockets.exceptions import ConnectionClosed

from dwebsocket import runners, signals, websocket
from dwebsocket.backends.default.websocket import DefaultWebSocket
from dwebsocket.conf import DEFAULTS
from dwebsocket.context import RequestContext
from dwebsocket.logins import rights
from dwebsocket.process import databases
from dwebsocket.runners import Call, Job
from dwebsocket.websocket import endpoint
from tests.python.peer import TIMEOUT

LOGGER = "dwebsocket.view"


def interpreters():
    """Return every Python at hand that the Django here supports."""
    oldest = 12 if django.VERSION >= (6,) else 10
    known = Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python")
    found = {path.parents[1].name: str(path) for path in known}
    return [
        sys.executable,
        *(
            path
            for version, path in sorted(found.items())
            if int(version.split(".")[1]) >= oldest
            and not version.startswith("{}.{}.".format(*sys.version_info))
        ),
    ]


def run(pair, view, request=None, **options):
    """Run a view in a thread of its own; return its WebSocket and the peer."""
    socket, peer = pair(**options)
    request = request or RequestFactory().get("/path")
    request.websocket = socket
    call = Call(view, request, (request,), {})
    connection = endpoint.of(socket).connection
    seat = runners.kind().reserve()
    seat.run(Job(RequestContext(), call, socket, connection))
    return socket, peer


def logged(caplog):
    assert runners.join(TIMEOUT)
    return [record for record in caplog.records if record.name == LOGGER]


class TestTheEnd:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            HttpResponse("ignored"),
            HttpResponse(status=204),
            HttpResponse(status=503),
            42,
        ],
    )
    def test_returning_closes_with_1000(self, pair, caplog, value):
        _, peer = run(pair, lambda request: value)
        assert peer.closing().code == 1000
        assert logged(caplog) == []

    @pytest.mark.parametrize(
        "decorator",
        [
            never_cache,
            cache_control(private=True),
            cache_page(60),
            gzip_page,
            vary_on_headers("X"),
            xframe_options_exempt,
            ensure_csrf_cookie,
        ],
    )
    def test_is_none_of_a_decorator_that_wants_a_response(
        self, pair, caplog, decorator
    ):
        @decorator
        def view(request):
            request.websocket.send("talks")

        _, peer = run(pair, view)
        assert peer.message() == "talks"
        assert peer.closing().code == 1000
        assert logged(caplog) == []

    def test_is_the_views_own_where_it_is_in_a_function_of_django(self, pair, caplog):
        @never_cache
        def view(request):
            patch_vary_headers(None, ["X"])

        _, peer = run(pair, view)
        assert peer.closing().code == 1011
        assert len(logged(caplog)) == 1

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

    @pytest.mark.parametrize(
        "error", [BadRequest, Http404, PermissionDenied, SuspiciousOperation]
    )
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
        assert "markcoroutinefunction" in caplog.text

    def test_a_close_of_the_views_own_stays(self, pair):
        _, peer = run(pair, lambda request: request.websocket.close(4000, "mine"))
        assert peer.closing().code == 4000

    def test_the_websocket_can_be_sent_to_afterwards(self, pair):
        socket, peer = run(pair, lambda request: None)
        peer.closing()
        assert runners.join(TIMEOUT)
        assert socket.send("into the void") is False


class TestTrouble:
    """What fails beside the view closes the connection, too, and is logged."""

    @pytest.mark.parametrize("error", [ValueError, MemoryError, KeyboardInterrupt])
    @pytest.mark.parametrize(
        ("module", "name"),
        [(databases, "begin"), (rights, "identify"), (signals, "emit")],
    )
    def test_before_the_view(self, pair, caplog, monkeypatch, module, name, error):
        def fail(*args, **named):
            raise error("no more")

        monkeypatch.setattr(module, name, fail)
        _, peer = run(pair, lambda request: request.websocket.receive())
        assert peer.closing().code == 1011
        [record] = logged(caplog)
        assert "/path" in record.getMessage()
        assert "no more" in caplog.text

    def test_in_the_context_of_the_request(self, pair, caplog, monkeypatch):
        def fail(*args):
            raise MemoryError("no more")

        monkeypatch.setattr(RequestContext, "run", fail)
        _, peer = run(pair, lambda request: None)
        assert peer.closing().code == 1011
        assert "no more" in (logged(caplog) and caplog.text)

    def test_at_the_end(self, pair, caplog):
        class Own(DefaultWebSocket):
            def close(self, code=None, reason=None):
                raise LookupError("broken close")

        _, peer = run(pair, lambda request: None, websocket_class=Own)
        assert peer.closing().code == 1011
        assert "broken close" in (logged(caplog) and caplog.text)

    def test_in_the_logging_of_the_views_own_error(self, pair, monkeypatch):
        def fail(record):
            raise RuntimeError("the filter fails")

        logger = logging.getLogger("dwebsocket.view")
        logger.addFilter(fail)
        monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
        try:
            _, peer = run(pair, lambda request: 1 / 0)
            assert peer.closing().code == 1011
            assert runners.join(TIMEOUT)
        finally:
            logger.removeFilter(fail)


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
        seen = []

        def view(request):
            thread = threading.current_thread()
            seen.append((thread, thread.name))

        socket, peer = run(pair, view)
        peer.closing()
        [(thread, name)] = seen
        assert thread is not threading.current_thread()
        assert thread.daemon is True
        assert name == f"websocket-{socket.id}"

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

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("python", interpreters())
    def test_the_default_stack_bears_every_recursion(self, python):
        script = Path(__file__).with_name("recursions.py")
        # Django, for interpreters that do not have it.
        packages = str(Path(django.__file__).parents[1])
        done = subprocess.run(
            [python, script, str(DEFAULTS["THREAD_STACK_SIZE"])],
            env={**os.environ, "PYTHONPATH": packages, "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            timeout=280,
        )
        last = done.stdout.splitlines()[-1:]
        assert (done.returncode, last) == (0, ["survived"]), done.stderr[-2000:]

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


class TestPeerGone:
    """A page that was closed costs no thread for ever."""

    def overlook(self, site, view, **options):
        @websocket(gone_timeout=0.2, **options)
        def decorated(request):
            return view(request)

        running = site({"": decorated})
        # The client reads nothing more, not even the answer to its Close frame.
        with running.connect(close_timeout=0.5) as connection:
            connection.recv(timeout=TIMEOUT)
            connection.send("unread")
        assert runners.join(TIMEOUT), "the view still runs"

    @pytest.mark.parametrize("dialect", ["modern", "classic"])
    def test_ends_a_view_that_only_sends(self, site, caplog, dialect):
        finished = []

        def view(request):
            try:
                while True:
                    try:
                        request.websocket.send("x")
                        time.sleep(0.01)
                    except Exception:
                        continue
            finally:
                request.websocket.send("bye")
                finished.append(True)

        self.overlook(site, view, dialect=dialect)
        assert finished == [True]
        [record] = [r for r in caplog.records if r.name == LOGGER]
        assert record.levelno == logging.WARNING
        assert "TestPeerGone.overlook" in record.getMessage()
        assert record.exc_info is None
        assert "Traceback" not in caplog.text

    def test_ends_a_loop_that_asks_as_well(self, site, caplog):
        def view(request):
            while True:
                request.websocket.wait(0.01)
                request.websocket.send("x")

        self.overlook(site, view)
        assert len([r for r in caplog.records if r.name == LOGGER]) == 1

    @pytest.mark.parametrize("dialect", ["modern", "classic"])
    def test_is_closed_ends_a_loop_before_that(self, site, caplog, dialect):
        def view(request):
            while not request.websocket.is_closed():
                request.websocket.send("x")
                time.sleep(0.001)

        self.overlook(site, view, dialect=dialect)
        assert [r for r in caplog.records if r.name == LOGGER] == []

    def test_can_be_turned_off(self, site):
        stop = threading.Event()
        vain = []

        @websocket(gone_timeout=None)
        def view(request):
            while not stop.is_set():
                if not request.websocket.send("x"):
                    vain.append(1)
                time.sleep(0.001)

        running = site({"": view})
        with running.connect(close_timeout=0.5) as connection:
            connection.recv(timeout=TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while len(vain) < 300:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stop.set()
        assert runners.join(TIMEOUT)


def test_a_helper_of_the_view_serves_a_browser_that_reads_late(site):
    """12 MB in messages of 50 KB, as a log tail or a download sends them."""
    stuck = threading.Event()

    @websocket
    def view(request):
        socket = request.websocket
        socket.wait()

        def tail():
            for number in range(240):
                assert socket.send(f"{number:<50000}")

        helper = threading.Thread(target=tail)
        helper.start()
        while socket.stats["outbox_bytes"] < 3_500_000:
            time.sleep(0.01)
        stuck.set()
        helper.join()

    with site({"": view}).connect(max_queue=1, compression=None) as connection:
        connection.send("go")
        assert stuck.wait(TIMEOUT)
        time.sleep(0.2)
        got = [connection.recv(timeout=TIMEOUT) for _ in range(240)]
        assert [len(text) for text in got] == [50000] * 240
        with pytest.raises(ConnectionClosed, match="1000"):
            connection.recv(timeout=TIMEOUT)

"""Views that accept by hand, synchronous and asynchronous ones."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import os
import socket
import struct
import threading
import time
from http.cookies import SimpleCookie

import pytest
from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.core.signals import request_finished
from django.db import connection, connections, transaction
from django.http import (
    Http404,
    HttpResponse,
    HttpResponseForbidden,
    HttpResponseRedirect,
)
from django.utils import translation
from websockets.exceptions import ConnectionClosed

from dwebsocket import (
    ConfigurationError,
    _engine,
    accept_websocket,
    context,
    push,
    require_websocket,
    runners,
    signals,
    websocket,
)
from dwebsocket.context import carry
from dwebsocket.exceptions import WebSocketClosed
from tests.python.live import HANDSHAKE

HERE = "tests.python.runners.test_deciding"
TIMEOUT = 10.0
KINDS = ["sync", "async"]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


async def done(result):
    """Await a result if the view is asynchronous."""
    return await result if inspect.isawaitable(result) else result


def as_view(kind, body):
    """Return a view of a kind that does what ``body`` does."""
    if kind == "async":
        return body

    def view(request, **kwargs):
        coroutine = body(request, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("a synchronous view has awaited something")

    return view


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def serve(site, kind):
    """Serve a body that accepts by hand, at the root of a site."""

    def serve(body, decorator=websocket, options=None, **settings):
        decorated = decorator(accept="manual", **(options or {}))
        return site({"": decorated(as_view(kind, body))}, **settings)

    return serve


async def echo(request):
    ws = request.websocket
    await done(ws.accept())
    while (message := await done(ws.wait())) is not None:
        await done(ws.send(message))


def until(condition, what="in time"):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class Outside:
    """Notes what a middleware sees on the way out."""

    seen: list = []

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        variable.set("request")
        response = self.get_response(request)
        self.seen.append((response.status_code, dict(response.items()), variable.get()))
        response.set_cookie("outside", "1")
        return response


class Replaces:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        self.get_response(request)
        return HttpResponse("replaced", status=403)


class TestAccepting:
    @pytest.mark.parametrize(
        "decorator", [websocket, accept_websocket, require_websocket]
    )
    def test_opens_the_websocket(self, serve, decorator):
        with serve(echo, decorator).connect() as peer:
            for word in ("a", "b"):
                peer.send(word)
                assert peer.recv() in (word, word.encode())

    def test_comes_before_the_101(self, serve, kind):
        asked, go = threading.Event(), threading.Event()

        async def view(request):
            asked.set()
            if kind == "async":
                await asyncio.to_thread(go.wait, TIMEOUT)
            else:
                go.wait(TIMEOUT)
            await echo(request)

        running = serve(view)
        opened = threading.Event()

        def connect():
            with running.connect() as peer:
                opened.set()
                peer.send("x")
                assert peer.recv() == "x"

        thread = threading.Thread(target=connect)
        thread.start()
        assert asked.wait(TIMEOUT)
        assert not opened.wait(0.05)
        go.set()
        thread.join(TIMEOUT)
        assert opened.is_set()

    def test_sends_headers_and_cookies(self, serve):
        async def view(request):
            headers = [("X-A", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
            headers += [("Link", "1"), ("Link", "2"), ("Set-Cookie", "b=3; Path=/x")]
            await done(request.websocket.accept(headers=headers))

        Outside.seen.clear()
        running = serve(view, MIDDLEWARE=[f"{HERE}.Outside"])
        with running.connect() as peer:
            headers = peer.response.headers
            assert headers["X-A"] == "1"
            cookies = ["a=1", "b=2", "b=3; Path=/x", "outside=1; Path=/"]
            assert headers.get_all("Set-Cookie") == cookies
            assert headers.get_all("Link") == ["1, 2"]
        ((status, seen, _),) = Outside.seen
        assert status == 101
        assert seen["X-A"] == "1"

    @pytest.mark.parametrize(
        ("given", "chosen"), [("b", "b"), (None, "a"), ("", None), ("d.v1", "d.v1")]
    )
    def test_chooses_a_subprotocol(self, serve, given, chosen):
        async def view(request):
            ws = request.websocket
            assert ws.subprotocol is None
            await done(ws.accept(given))
            await done(ws.send(str(ws.subprotocol)))

        running = serve(view, options={"subprotocols": ["a"]})
        with running.connect(subprotocols=["b", "a", "d.v1"]) as peer:
            assert peer.subprotocol == chosen
            assert peer.recv() == str(chosen)

    def test_leaves_the_warning_of_subprotocols_out(self, serve, caplog):
        async def view(request):
            await done(request.websocket.accept("b"))

        with serve(view).connect(subprotocols=["b"]) as peer:
            assert peer.subprotocol == "b"
        assert "takes none of them" not in caplog.text

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"subprotocol": "x"}, ValueError, "does not offer the subprotocol 'x'"),
            ({"headers": {"Sec-WebSocket-Accept": "x"}}, ValueError, "determines"),
            ({"headers": {"sec-websocket-protocol": "x"}}, ValueError, "subprotocol="),
            ({"headers": {"Upgrade": "x"}}, ValueError, "determines Upgrade"),
            ({"headers": {"TE": "x"}}, ValueError, "determines TE"),
            ({"headers": {"X": "a\r\nB: c"}}, ValueError, "X"),
            ({"headers": {"X\r\nY": "a"}}, ValueError, "X"),
            ({"headers": {"X Y": "a"}}, ValueError, "X"),
            ({"headers": {"X": 1}}, TypeError, "pairs of str"),
        ],
    )
    def test_checks_its_arguments(self, serve, arguments, error, match):
        async def view(request):
            with pytest.raises(error, match=match):
                await done(request.websocket.accept(**arguments))
            await echo(request)

        with serve(view).connect() as peer:
            peer.send("still open")
            assert peer.recv() == "still open"

    def test_happens_once(self, serve):
        async def view(request):
            await done(request.websocket.accept())
            with pytest.raises(RuntimeError, match="open already"):
                await done(request.websocket.accept())
            await done(request.websocket.send("x"))

        with serve(view).connect() as peer:
            assert peer.recv() == "x"

    def test_is_for_views_with_the_argument(self, site, kind):
        async def view(request):
            with pytest.raises(RuntimeError, match='accept="manual"'):
                await done(request.websocket.accept())
            await done(request.websocket.send("x"))

        with site({"": websocket(as_view(kind, view))}).connect() as peer:
            assert peer.recv() == "x"

    def test_comes_before_messages(self, serve):
        async def view(request):
            ws = request.websocket
            for call in (
                lambda: ws.send("x"),
                lambda: ws.send_json({}),
                ws.wait,
                ws.receive,
                ws.read,
                lambda: ws.join("group"),
                ws.ping,
                ws.fileno,
            ):
                with pytest.raises(RuntimeError, match=r"accept\(\)' first"):
                    await done(call())
            with pytest.raises(RuntimeError, match="return a response"):
                ws.close()
            assert not ws.is_closed()
            assert repr(ws)
            await echo(request)

        with serve(view).connect() as peer:
            peer.send("x")
            assert peer.recv() == "x"

    def test_emits_the_signals_when_it_is_open(self, serve):
        seen = []

        def opened(sender, **kwargs):
            seen.append("opened")

        signals.websocket_opened.connect(opened)
        try:

            async def view(request):
                seen.append("view")
                await done(request.websocket.accept())
                seen.append("accepted")

            with serve(view).connect() as peer, pytest.raises(ConnectionClosed):
                peer.recv()
        finally:
            signals.websocket_opened.disconnect(opened)
        assert seen == ["view", "opened", "accepted"]

    def test_comes_after_the_check_of_the_origin(self, serve):
        ran = threading.Event()

        async def view(request):
            ran.set()

        running = serve(view)
        response, _ = running.request(**HANDSHAKE, Origin="https://evil.example")
        assert response.status == 403
        assert not ran.is_set()

    def test_counts_for_the_limit_of_connections(self, serve, quiet):
        running = serve(echo, DWEBSOCKET={"MAX_CONNECTIONS": quiet + 1})
        with running.connect() as peer:
            peer.send("x")
            assert peer.recv() == "x"
            response, _ = running.request(**HANDSHAKE)
            assert response.status == 503

    def test_takes_auto_or_manual(self):
        with pytest.raises(ConfigurationError, match="'auto' or 'manual', not 'hand'"):
            websocket(accept="hand")
        assert websocket(accept="auto")(lambda request: None)

    def test_leaves_plain_http_as_it_is(self, serve):
        async def view(request):
            if not request.is_websocket():
                return HttpResponse("plain")
            return await echo(request)

        assert serve(view, accept_websocket).request()[1] == b"plain"

    def test_needs_a_websocket(self, serve):
        assert serve(echo).request()[0].status == 426


class TestRefusing:
    @pytest.mark.parametrize(
        ("response", "status"),
        [
            (HttpResponseForbidden("no"), 403),
            (HttpResponseRedirect("/login"), 302),
            (HttpResponse("gone", status=410), 410),
            (HttpResponse("fine"), 200),
        ],
    )
    def test_by_a_response(self, serve, response, status, quiet):
        async def view(request):
            return response

        Outside.seen.clear()
        found, body = serve(view, MIDDLEWARE=[f"{HERE}.Outside"]).request(**HANDSHAKE)
        assert (found.status, body) == (status, response.content)
        assert found.headers["Set-Cookie"] == "outside=1; Path=/"
        assert "Upgrade" in found.headers["Vary"]
        assert _engine.connection_count() == quiet

    @pytest.mark.parametrize(
        ("error", "status"),
        [(PermissionDenied, 403), (Http404, 404), (ZeroDivisionError, 500)],
    )
    def test_by_an_exception(self, serve, error, status, quiet):
        async def view(request):
            raise error("reason")

        running = serve(view, DEBUG=status == 500)
        response, body = running.request(**HANDSHAKE)
        assert response.status == status
        if status == 500:
            # Django's page for debugging, with the frame of the view.
            assert b"ZeroDivisionError" in body
            assert b"test_deciding.py" in body
        gc.collect()
        assert _engine.connection_count() == quiet

    def test_is_counted_and_signalled(self, serve):
        seen = []

        def rejected(sender, request, status, reason, **kwargs):
            seen.append((status, reason))

        signals.websocket_rejected.connect(rejected)
        try:

            async def view(request):
                return HttpResponseForbidden()

            serve(view).request(**HANDSHAKE)
        finally:
            signals.websocket_rejected.disconnect(rejected)
        assert seen == [(403, "The view has returned this response.")]

    @pytest.mark.parametrize("returned", [None, "text"])
    def test_by_nothing_is_an_error(self, serve, returned, kind, caplog):
        async def view(request):
            return returned

        response, body = serve(view, DEBUG=True).request(**HANDSHAKE)
        assert response.status == 500
        assert b"has not called accept()" in body
        assert ("Write 'await request." in caplog.text) is (kind == "async")

    def test_too_late_is_503(self, serve, kind, caplog, quiet):
        go, ended = threading.Event(), threading.Event()
        errors = []

        async def view(request):
            try:
                if kind == "async":
                    await asyncio.sleep(TIMEOUT)
                go.wait(TIMEOUT)
                try:
                    request.websocket.accept()
                except RuntimeError as error:
                    errors.append(str(error))
                    raise
            finally:
                ended.set()

        running = serve(view, options={"accept_timeout": 0.05})
        response, body = running.request(**HANDSHAKE)
        assert response.status == 503
        assert response.headers["Retry-After"] == "10"
        assert b"ACCEPT_TIMEOUT" in body
        go.set()
        assert ended.wait(TIMEOUT)
        if kind == "sync":
            assert "comes too late" in errors[0]
        until(lambda: _engine.connection_count() == quiet)
        assert any(
            record.levelno == logging.ERROR and "ACCEPT_TIMEOUT" in record.message
            for record in caplog.records
        )

    def test_after_the_process_has_begun_to_end_is_503(self, serve, monkeypatch, quiet):
        seen = []
        starts = iter([None])

        def start():
            if next(starts, "no more") is not None:
                raise OSError("the process is shutting down")

        async def view(request):
            try:
                await done(request.websocket.accept())
            except WebSocketClosed:
                seen.append("lost")
                raise

        running = serve(view)
        monkeypatch.setattr(_engine, "start", start)
        response, body = running.request(**HANDSHAKE)
        assert (response.status, body) == (503, b"This process ends.\n")
        until(lambda: seen, "the view has been told")
        until(lambda: _engine.connection_count() == quiet)

    def test_by_a_middleware_after_accept_ends_the_view(self, serve, quiet, caplog):
        seen = []

        async def view(request):
            try:
                await done(request.websocket.accept())
            except WebSocketClosed as error:
                with pytest.raises(WebSocketClosed):
                    await done(request.websocket.wait())
                seen.append(str(error))
                raise

        running = serve(view, MIDDLEWARE=[f"{HERE}.Replaces"])
        response, body = running.request(**HANDSHAKE)
        assert (response.status, body) == (403, b"replaced")
        gc.collect()
        until(lambda: seen, "the view has been told")
        assert "middleware" in seen[0]
        until(lambda: _engine.connection_count() == quiet)
        assert "Error in the WebSocket view" not in caplog.text

    def test_after_accept_closes_with_1008(self, serve, caplog):
        async def view(request):
            await done(request.websocket.accept())
            return HttpResponseForbidden()

        with serve(view).connect() as peer:
            with pytest.raises(ConnectionClosed):
                peer.recv()
            assert peer.protocol.close_code == 1008
        assert "open already" in caplog.text

    def test_a_good_response_after_accept_is_ignored(self, serve):
        async def view(request):
            await done(request.websocket.accept())
            return HttpResponse()

        with serve(view).connect() as peer:
            with pytest.raises(ConnectionClosed):
                peer.recv()
            assert peer.protocol.close_code == 1000

    def test_an_exception_after_accept_closes_with_1011(self, serve, caplog):
        async def view(request):
            await done(request.websocket.accept())
            raise ZeroDivisionError

        with serve(view).connect() as peer:
            with pytest.raises(ConnectionClosed):
                peer.recv()
            assert peer.protocol.close_code == 1011
        assert "Error in the WebSocket view" in caplog.text


class TestState:
    def test_context_goes_to_the_view_and_back(self, serve):
        async def view(request):
            assert variable.get() == "request"
            variable.set("view")
            await done(request.websocket.accept())
            assert variable.get() == "view"

        Outside.seen.clear()
        with serve(view, MIDDLEWARE=[f"{HERE}.Outside"]).connect():
            pass
        assert Outside.seen[0][2] == "view"

    def test_language_reaches_the_response_middleware(self, serve):
        async def view(request):
            translation.activate("de")
            return HttpResponse("no", status=403)

        running = serve(view, MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"])
        assert running.request(**HANDSHAKE)[0].headers["Content-Language"] == "de"

    def test_hooks_apply_before_and_after(self, serve):
        seen = []

        class Entered:
            def __enter__(self):
                seen.append("enter")

            def __exit__(self, *args):
                seen.append("exit")

        hook = carry(lambda request: Entered())
        try:

            async def view(request):
                seen.append("view")
                await done(request.websocket.accept())
                seen.append("accepted")
                await done(request.websocket.send("x"))
                await done(request.websocket.wait())

            with serve(view).connect() as peer:
                assert peer.recv() == "x"
        finally:
            context._hooks.remove(hook)
        assert seen[:2] == ["enter", "view"]
        assert seen.index("accepted") > 1
        until(lambda: seen.count("exit") == seen.count("enter"), "the hook has ended")

    def test_request_finished_comes_with_the_response(self, serve):
        finished = threading.Event()

        def note(**kwargs):
            finished.set()

        request_finished.connect(note)
        try:
            with serve(echo).connect() as peer:
                assert finished.wait(TIMEOUT)
                peer.send("x")
                assert peer.recv() == "x"
        finally:
            request_finished.disconnect(note)


def name_groups():
    return sorted(Group.objects.values_list("name", flat=True))


@pytest.fixture
def ask(kind):
    """Call a synchronous function in a view of either kind."""
    return sync_to_async if kind == "async" else lambda function: function


@pytest.mark.usefixtures("tables")
class TestDatabases:
    def test_what_is_saved_before_accept_is_there_afterwards(self, serve, ask):
        async def view(request):
            await done(ask(Group.objects.create)(name="before"))
            await done(request.websocket.accept())
            names = await done(ask(name_groups)())
            await done(request.websocket.send(",".join(names)))
            await done(ask(Group.objects.create)(name="after"))

        with serve(view).connect() as peer:
            assert peer.recv() == "before"
            with pytest.raises(ConnectionClosed):
                peer.recv()
        assert name_groups() == ["after", "before"]

    @pytest.fixture
    def atomic(self, monkeypatch, tables):
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    def test_atomic_requests_commits_before_accept_returns(self, serve, ask, atomic):
        seen = []

        def inside():
            seen.append(connection.in_atomic_block)
            Group.objects.create(name="before")

        async def view(request):
            await done(ask(inside)())
            await done(request.websocket.accept())
            await done(ask(lambda: seen.append(connection.in_atomic_block))())
            await done(ask(Group.objects.create)(name="after"))

        with serve(view).connect() as peer, pytest.raises(ConnectionClosed):
            peer.recv()
        assert seen == [True, False]
        assert name_groups() == ["after", "before"]

    def test_atomic_requests_rolls_an_exception_back(self, serve, ask, atomic):
        async def view(request):
            await done(ask(Group.objects.create)(name="lost"))
            raise PermissionDenied

        assert serve(view).request(**HANDSHAKE)[0].status == 403
        assert name_groups() == []

    def test_accept_inside_of_atomic_is_an_error(self, site, caplog):
        async def view(request):
            with transaction.atomic():
                Group.objects.create(name="lost")
                request.websocket.accept()

        assert (
            site({"": websocket(accept="manual")(as_view("sync", view))})
            .request(**HANDSHAKE)[0]
            .status
            == 500
        )
        assert "inside of transaction.atomic()" in caplog.text
        assert name_groups() == []

    def test_sessions_and_messages_go_with_the_101(self, serve, ask):
        async def view(request):
            request.session["before"] = 1
            messages.info(request, "hello")
            await done(request.websocket.accept())
            assert not request.session.modified
            request.session["after"] = 2

        running = serve(view)
        with running.connect() as peer:
            cookies = SimpleCookie()
            for header in peer.response.headers.get_all("Set-Cookie"):
                cookies.load(header)
            with pytest.raises(ConnectionClosed):
                peer.recv()
        key = cookies["sessionid"].value
        assert "messages" in cookies
        until(lambda: "after" in SessionStore(key).load(), "the session is saved")
        assert SessionStore(key).load()["before"] == 1

    def test_a_login_before_accept_is_that_of_the_connection(self, serve, ask):
        user = get_user_model().objects.create_user("ada")

        async def view(request):
            await done(ask(login)(request, user))
            await done(request.websocket.accept())
            await done(request.websocket.send(request.user.username))
            await done(request.websocket.wait())

        with serve(view).connect() as peer:
            assert peer.recv() == "ada"
            assert "sessionid" in str(peer.response.headers.get_all("Set-Cookie"))
            push.to_user(user.pk, "pushed")
            assert peer.recv() == "pushed"

    def test_connections_belong_to_the_request_again(self, serve, ask):
        seen = []

        class Note:
            def __init__(self, get_response):
                self.get_response = get_response

            def __call__(self, request):
                response = self.get_response(request)
                seen.append(connections["default"].allow_thread_sharing)
                Group.objects.count()
                return response

        async def view(request):
            seen.append(await done(ask(lambda: connections["default"])()))
            await done(request.websocket.accept())
            seen.append(await done(ask(lambda: connections["default"])()))

        Late.middleware = Note
        running = serve(view, MIDDLEWARE=[f"{HERE}.Late"])
        with running.connect() as peer, pytest.raises(ConnectionClosed):
            peer.recv()
        first, shared, second = seen
        assert not shared
        assert first is not second


class Late:
    """A middleware of a test."""

    middleware = None

    def __new__(cls, get_response):
        return cls.middleware(get_response)


class TestEnds:
    @pytest.mark.parametrize("outcome", ["refuse", "raise", "nothing", "accept"])
    def test_leave_nothing_behind(self, serve, outcome, quiet):
        async def view(request):
            if outcome == "refuse":
                return HttpResponseForbidden()
            if outcome == "raise":
                raise PermissionDenied
            if outcome == "accept":
                await done(request.websocket.accept())
            return None

        running = serve(view)

        def once():
            if outcome == "accept":
                with running.connect() as peer, pytest.raises(ConnectionClosed):
                    peer.recv()
            else:
                running.request(**HANDSHAKE)

        once()
        until(lambda: _engine.connection_count() == quiet)
        descriptors = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            once()
        gc.collect()
        until(lambda: _engine.connection_count() == quiet)
        until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + 2)
        until(lambda: not runners.running())

    def test_a_client_that_has_gone_is_met_after_accept(self, serve, kind, quiet):
        asked, go, ended = threading.Event(), threading.Event(), threading.Event()

        async def view(request):
            asked.set()
            if kind == "async":
                await asyncio.to_thread(go.wait, TIMEOUT)
            else:
                go.wait(TIMEOUT)
            try:
                await done(request.websocket.accept())
                while await done(request.websocket.wait()) is not None:
                    pass
            finally:
                ended.set()

        running = serve(view)
        client = socket.create_connection(("127.0.0.1", running.port))
        lines = [
            f"{name.replace('_', '-')}: {value}" for name, value in HANDSHAKE.items()
        ]
        head = "\r\n".join(["GET / HTTP/1.1", "Host: x", *lines, "", ""])
        client.sendall(head.encode())
        assert asked.wait(TIMEOUT)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        go.set()
        assert ended.wait(TIMEOUT)
        until(lambda: _engine.connection_count() == quiet)

    def test_accept_that_is_cancelled_closes_the_connection(self, site, quiet):
        cancelled = threading.Event()

        async def view(request):
            accepting = asyncio.ensure_future(request.websocket.accept())
            await asyncio.sleep(0)
            while not accepting.cancel():
                await asyncio.sleep(0)
            await asyncio.wait([accepting])
            cancelled.set()
            raise PermissionDenied

        running = site({"": websocket(accept="manual")(view)})
        with contextlib.suppress(Exception), running.connect() as peer:
            peer.recv()
        assert cancelled.wait(TIMEOUT)
        until(lambda: _engine.connection_count() == quiet)

    def test_a_forgotten_await_is_an_error(self, site, caplog):
        async def view(request):
            request.websocket.accept().close()

        running = site({"": websocket(accept="manual")(view)})
        assert running.request(**HANDSHAKE)[0].status == 500
        assert "await request.websocket.accept()" in caplog.text

    def test_a_view_below_another_decorator_decides(self, site, kind):
        body = as_view(kind, echo)
        both = websocket(accept="manual")(websocket(body))
        with site({"": both}).connect() as peer:
            peer.send("x")
            assert peer.recv() == "x"

    def test_login_required_below_the_decorator_answers_the_handshake(
        self, tables, site
    ):
        view = websocket(accept="manual")(login_required(as_view("sync", echo)))
        response, _ = site({"": view}).request(**HANDSHAKE)
        assert response.status == 302

    def test_a_view_that_begins_too_late_is_cancelled(self, site, quiet):
        ended = threading.Event()

        async def blocks(request):
            time.sleep(0.3)

        async def late(request):
            try:
                await asyncio.sleep(600)
            finally:
                ended.set()

        views = {
            "blocks": websocket(accept="manual", accept_timeout=0.01)(blocks),
            "late": websocket(accept="manual", accept_timeout=0.05)(late),
        }
        running = site(views)
        running.request("blocks", **HANDSHAKE)
        assert running.request("late", **HANDSHAKE)[0].status == 503
        assert ended.wait(TIMEOUT)
        until(lambda: _engine.connection_count() == quiet)

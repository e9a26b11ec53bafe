"""Asynchronous views: their state, their ends, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, connections
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views import View
from websockets.exceptions import ConnectionClosed

from dwebsocket import _engine, accept_websocket, push, runners, signals, websocket
from dwebsocket.context import carry
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.runners import calls, tasks
from dwebsocket.runners.looping import SPARE
from dwebsocket.signals import websocket_closed, websocket_opened
from dwebsocket.websocket.aio import AsyncWebSocket
from dwebsocket.websocket.endpoint import of
from tests.python.websocket.test_aio import TIMEOUT, Box, served

LOGGER = "dwebsocket.view"


async def echo(request):
    async for message in request.websocket:
        await request.websocket.send(message)


def until(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class TestTheLoop:
    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_goes_on_after_a_task_that_would_end_it(self, site, caplog, error):
        async def fails():
            raise error("on purpose")

        async def view(request):
            async for message in request.websocket:
                if message == "fail":
                    request.task = asyncio.create_task(fails())
                await request.websocket.send(message)

        running = served(site, view)
        with running.connect() as one, running.connect() as two:
            for message in ("before", "fail", "after"):
                one.send(message)
                assert one.recv(TIMEOUT) == message
                two.send(message.upper())
                assert two.recv(TIMEOUT) == message.upper()
        with running.connect() as three:
            three.send("new")
            assert three.recv(TIMEOUT) == "new"
        until(lambda: "A task of the event loop" in caplog.text, "the log says so")


class TestTheView:
    def test_runs_in_one_thread_with_others(self, site):
        seen = set()

        async def view(request):
            seen.add(threading.get_ident())
            await request.websocket.wait()

        running = served(site, view)
        with running.connect(), running.connect():
            until(lambda: len(tasks.runner.running()) == 2, "views run")
        assert len(seen) == 1
        assert threading.get_ident() not in seen

    def test_answers_plain_http_as_well(self, site):
        async def view(request):
            if not request.is_websocket():
                await asyncio.sleep(0)
                return HttpResponse("plain")
            await request.websocket.send("websocket")

        running = served(site, view, accept_websocket)
        assert running.request()[1] == b"plain"
        with running.connect() as peer:
            assert peer.recv() == "websocket"

    def test_that_needs_a_websocket_answers_426(self, site):
        async def view(request):
            await request.websocket.send("x")

        response, _ = served(site, view).request()
        assert response.status == 426

    def test_is_a_method_or_has_arguments(self, site):
        class Pages(View):
            async def get(self, request):
                await request.websocket.send("a method")

        async def room(request, name):
            await request.websocket.send(name)

        class Decorated(View):
            @websocket
            async def get(self, request):
                await request.websocket.send("a method")

        class Page(View):
            @method_decorator(accept_websocket)
            async def get(self, request):
                if not request.is_websocket():
                    return HttpResponse("plain")
                await request.websocket.send("a method")

        running = site(
            {
                "page": Page.as_view(),
                "decorated": Decorated.as_view(),
                "whole": websocket(Pages.as_view()),
                "room/<str:name>": websocket(room),
            }
        )
        for route, expected in [
            ("page", "a method"),
            ("decorated", "a method"),
            ("whole", "a method"),
            ("room/7", "7"),
        ]:
            with running.connect(route) as peer:
                assert peer.recv() == expected
        assert running.request("page")[1] == b"plain"
        assert running.request("whole")[0].status == 426

    def test_may_have_two_decorators(self, site):
        view = websocket(accept_websocket(echo))
        with site({"": view}).connect() as peer:
            peer.send("x")
            assert peer.recv() == "x"

    def test_has_the_class_of_the_factory(self, site):
        async def view(request):
            await request.websocket.send(type(request.websocket).__name__)

        name = f"{__name__}.Factory"
        running = site({"": websocket(view)}, DWEBSOCKET={"FACTORY_CLASS": name})
        with running.connect() as peer:
            assert peer.recv() == "Mine"


class Mine(AsyncWebSocket):
    """A class of a project."""


def _factory():
    from dwebsocket.factory import WebSocketFactory

    class Factory(WebSocketFactory):
        async_websocket_class = Mine

    return Factory


Factory = _factory()

variable = contextvars.ContextVar("variable", default="unset")


class TestTheContext:
    def test_is_that_of_the_request(self, site):
        box = Box()

        class Middleware:
            pass

        @websocket
        async def view(request):
            async def inner():
                return variable.get()

            box.put(
                [
                    variable.get(),
                    await asyncio.create_task(inner()),
                    await sync_to_async(variable.get)(),
                    translation.get_language(),
                    await sync_to_async(translation.get_language)(),
                ]
            )
            await request.websocket.wait()

        def outer(request):
            variable.set("of the request")
            translation.activate("de")
            return view(request)

        with site({"": outer}).connect():
            assert box.take() == [*["of the request"] * 3, "de", "de"]

    def test_of_two_views_does_not_mix(self, site):
        async def view(request):
            variable.set(request.GET["name"])
            async for _ in request.websocket:
                await request.websocket.send(variable.get())

        running = served(site, view)
        with running.connect("?name=a") as first, running.connect("?name=b") as second:
            for _ in range(3):
                first.send("?")
                second.send("?")
                assert [first.recv(), second.recv()] == ["a", "b"]

    def test_has_what_hooks_carry_over(self, site, monkeypatch):
        from dwebsocket import context

        monkeypatch.setattr(context, "_hooks", [])
        state = threading.local()

        @carry
        def hook(request):
            value = request.GET["tenant"]

            def apply():
                state.tenant = value

            return apply

        async def view(request):
            async for _ in request.websocket:
                tenant = await sync_to_async(lambda: state.tenant)()
                await request.websocket.send(tenant)

        running = served(site, view)
        with running.connect("?tenant=a") as one, running.connect("?tenant=b") as two:
            for _ in range(3):
                one.send("?")
                two.send("?")
                assert [one.recv(), two.recv()] == ["a", "b"]


@pytest.mark.usefixtures("tables")
class TestDatabases:
    def test_two_views_query_side_by_side(self, site):
        both = threading.Barrier(2, timeout=TIMEOUT)

        def meet():
            get_user_model().objects.count()
            both.wait()
            return threading.get_ident()

        async def view(request):
            first = await sync_to_async(meet)()
            second = await sync_to_async(threading.get_ident)()
            await request.websocket.send(str(first == second))
            await request.websocket.wait()

        running = served(site, view)
        with running.connect() as one, running.connect() as two:
            assert [one.recv(), two.recv()] == ["True", "True"]

    def test_queries_of_one_view_share_a_connection(self, site):
        def ident():
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return id(connection.connection)

        async def view(request):
            first = await sync_to_async(ident)()
            second = await asyncio.create_task(sync_to_async(ident)())
            await request.websocket.send(str(first == second))

        with served(site, view).connect() as peer:
            assert peer.recv() == "True"

    def test_connections_are_let_go_while_a_view_waits(self, site):
        found = Box()

        def query():
            get_user_model().objects.count()
            return connection.connection

        async def view(request):
            ws = request.websocket
            found.put(await sync_to_async(query)())
            await ws.wait()
            await sync_to_async(query)()
            await ws.send("again")
            await ws.wait()

        def is_closed():
            try:
                found.value.total_changes  # noqa: B018 - raises if closed
            except Exception:
                return True
            return False

        with served(site, view).connect() as peer:
            found.take()
            until(is_closed, "the connection was closed")
            peer.send("x")
            assert peer.recv() == "again"

    @pytest.mark.usefixtures("tables")
    def test_a_connection_that_fails_to_close_fails_no_later_call(
        self, site, caplog, monkeypatch
    ):
        failing = [True]
        wrapper = type(connections["default"])
        close = wrapper._close

        def fail_once(this):
            if failing:
                failing.clear()
                raise OperationalError("gone on purpose")
            return close(this)

        monkeypatch.setattr(wrapper, "_close", fail_once)

        async def view(request):
            async for _ in request.websocket:
                count = await sync_to_async(get_user_model().objects.count)()
                await request.websocket.send(str(count))

        with served(site, view).connect() as peer:
            peer.send("one")
            assert peer.recv(TIMEOUT) == "0"
            # The view waits, and lets the connection go.
            until(lambda: not failing, "the connection was closed")
            peer.send("two")
            assert peer.recv(TIMEOUT) == "0"
        assert caplog.text.count("gone on purpose") >= 1
        assert caplog.text.count("could not be closed") == 1

    def test_a_thread_serves_the_next_view(self, site):
        threads = set()

        async def view(request):
            threads.add(await sync_to_async(threading.get_ident)())

        running = served(site, view)
        for _ in range(5):
            with running.connect() as peer, pytest.raises(ConnectionClosed):
                peer.recv()
            until(lambda: not tasks.runner.running(), "the view has ended")
        assert len(threads) < 5

    def test_the_user_is_known_and_reachable(self, site, client):
        user = get_user_model().objects.create_user("ann")
        client.force_login(user)
        cookie = client.cookies["sessionid"].value

        async def view(request):
            await request.websocket.send(request.user.username)
            await request.websocket.send(str(await request.websocket.recheck()))
            await request.websocket.watch(60)
            await request.websocket.wait()

        running = site(
            {"": websocket(view)},
            MIDDLEWARE=[
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
            ],
        )
        headers = {"Cookie": f"sessionid={cookie}"}
        with running.connect(additional_headers=headers) as peer:
            assert [peer.recv(), peer.recv()] == ["ann", "True"]
            push.to_user(user, "pushed")
            assert peer.recv() == "pushed"

    def test_a_change_of_the_session_is_saved(self, site, client):
        user = get_user_model().objects.create_user("ann")
        client.force_login(user)
        cookie = client.cookies["sessionid"].value

        async def view(request):
            message = await request.websocket.wait()
            await sync_to_async(request.session.__setitem__)("seen", message)

        running = site(
            {"": websocket(view)},
            MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        )
        headers = {"Cookie": f"sessionid={cookie}"}
        with running.connect(additional_headers=headers) as peer:
            peer.send("x")
            with pytest.raises(ConnectionClosed):
                peer.recv()
        assert client.session["seen"] == "x"

    def test_receivers_of_signals_may_query(self, site):
        got = []

        def receiver(signal, **named):
            got.append((signal, get_user_model().objects.count()))

        joined = [websocket_opened, websocket_closed, signals.group_joined]
        for signal in joined:
            signal.connect(receiver)
        try:

            async def view(request):
                await request.websocket.join("g")

            with served(site, view).connect() as peer, pytest.raises(ConnectionClosed):
                peer.recv()
            until(lambda: len(got) == 3, "three signals")
        finally:
            for signal in joined:
                signal.disconnect(receiver)
        assert [count for _, count in got] == [0, 0, 0]


class TestErrors:
    def closing(self, site, view, **options):
        with served(site, view, **options).connect() as peer:
            with suppress(ConnectionClosed):
                list(peer)
            return peer.protocol.close_code

    def test_an_exception_is_logged_and_closes_with_1011(self, site, caplog):
        async def view(request):
            await request.websocket.send("before")
            raise ZeroDivisionError("the view's own mistake")

        assert self.closing(site, view) == 1011
        (record,) = [one for one in caplog.records if one.name == LOGGER]
        assert record.levelno == logging.ERROR
        assert record.exc_info[0] is ZeroDivisionError

    def test_a_refusal_closes_with_1008(self, site, caplog):
        async def view(request):
            await asyncio.sleep(0)
            raise PermissionDenied("not you")

        assert self.closing(site, view) == 1008
        assert "Refused (PermissionDenied)" in caplog.text

    def test_a_response_that_refuses_closes_with_1008(self, site):
        async def view(request):
            return HttpResponseRedirect("/login")

        assert self.closing(site, view) == 1008

    def test_returning_closes_with_1000(self, site):
        async def view(request):
            return None

        assert self.closing(site, view) == 1000

    def test_a_cancellation_of_something_else_is_an_error(self, site, caplog):
        async def view(request):
            task = asyncio.ensure_future(asyncio.sleep(60))
            asyncio.get_running_loop().call_soon(task.cancel)
            await task

        assert self.closing(site, view) == 1011
        assert "CancelledError" in caplog.text

    def test_system_exit_closes_with_1001_and_ends_no_other_view(self, site):
        async def leaves(request):
            sys.exit(3)

        running = site({"": websocket(leaves), "echo": websocket(echo)})
        with running.connect("echo") as other:
            with running.connect() as peer:
                with pytest.raises(ConnectionClosed) as caught:
                    peer.recv()
                assert caught.value.rcvd.code == 1001
            other.send("x")
            assert other.recv() == "x"

    def test_a_hidden_async_view_is_explained(self, site, caplog):
        def hide(view):
            def wrapper(request):
                return view(request)

            return wrapper

        assert self.closing(site, hide(echo)) == 1011
        assert "markcoroutinefunction" in caplog.text

    def test_a_yield_is_refused(self):
        async def view(request):
            yield "x"

        with pytest.raises(ConfigurationError, match="yield"):
            websocket(view)

    def test_a_synchronous_view_cannot_be_cancelled(self):
        with pytest.raises(ConfigurationError, match="async def"):
            websocket(cancel_on_disconnect=True)(lambda request: None)


class TestCancelOnDisconnect:
    @pytest.mark.parametrize("how", ["close", "drop"])
    def test_cancels_a_view_that_does_not_read(self, site, caplog, how):
        box = Box()

        async def view(request):
            await request.websocket.send("begun")
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                box.put("cancelled")
                raise

        with served(site, view, cancel_on_disconnect=True).connect() as peer:
            assert peer.recv() == "begun"
            if how == "drop":
                peer.socket.shutdown(2)
        assert box.take() == "cancelled"
        assert not [one for one in caplog.records if one.name == LOGGER]

    def test_may_be_a_setting(self, site):
        box = Box()

        async def view(request):
            try:
                await asyncio.sleep(600)
            finally:
                box.put("cancelled")

        settings = {"DWEBSOCKET": {"CANCEL_ON_DISCONNECT": True}}
        with site({"": websocket(view)}, **settings).connect():
            pass
        assert box.take() == "cancelled"

    def test_a_view_that_reads_sees_the_end_first(self, site):
        box = Box()

        async def view(request):
            box.put([message async for message in request.websocket])

        with served(site, view, cancel_on_disconnect=True).connect() as peer:
            peer.send("last")
        assert box.take() == ["last"]

    def test_the_views_own_close_cancels_nothing(self, site):
        box = Box()

        async def view(request):
            request.websocket.close()
            await asyncio.sleep(0.05)
            box.put("not cancelled")

        with served(site, view, cancel_on_disconnect=True).connect():
            assert box.take() == "not cancelled"

    def test_a_view_is_never_cancelled_in_the_call_that_asks_for_it(self, site):
        box = Box()

        async def view(request):
            # The peer has gone before the package asks to hear of the end.
            assert await request.websocket.wait() is None
            called = []
            port = of(request.websocket).tasks
            port.at_end(lambda: called.append(1))
            before = list(called)
            await asyncio.sleep(0)
            box.put((before, called))

        with served(site, view).connect():
            pass
        assert box.take() == ([], [1])

    def test_is_off_by_default(self, site):
        box = Box()

        async def view(request):
            await request.websocket.wait()
            await asyncio.sleep(0.05)
            box.put("not cancelled")

        with served(site, view).connect():
            pass
        assert box.take() == "not cancelled"


def count(what):
    return len(os.listdir(f"/proc/self/{what}"))


@pytest.mark.usefixtures("tables")
def test_views_leave_nothing_behind(site, caplog, quiet):
    """100 views raise, are cancelled, or use the database and outlive their peers."""
    caplog.set_level(logging.CRITICAL, "dwebsocket")

    def query():
        return get_user_model().objects.count()

    async def view(request):
        ws = request.websocket
        await sync_to_async(query)()
        await ws.send("begun")
        kind = request.GET["kind"]
        if kind == "raise":
            raise ZeroDivisionError
        if kind == "cancel":
            await asyncio.sleep(600)
        asyncio.current_task().set_name("outlives")
        await asyncio.sleep(0.05)
        await sync_to_async(query)()

    running = served(site, view, cancel_on_disconnect=True)
    with running.connect("?kind=raise") as peer:
        peer.recv()

    def rested():
        gc.collect()
        return (
            not tasks.runner.running()
            and not _engine.connection_count()
            and len(calls._pool._parked) <= 64
        )

    until(rested, "the first view has gone")
    until(lambda: len(calls._pool._parked) <= SPARE, "threads have ended")
    before = count("fd"), count("task")
    for _ in range(10):
        with ExitStack() as stack:
            for number in range(10):
                kind = ("raise", "cancel", "outlive")[number % 3]
                peer = stack.enter_context(running.connect(f"?kind={kind}"))
                assert peer.recv() == "begun"
    until(rested, "all views have gone")
    until(lambda: len(calls._pool._parked) <= SPARE, "threads have ended")
    loop = tasks.runner._loop.asyncio
    until(lambda: not asyncio.all_tasks(loop), "no task is left")
    # The server's own threads and sockets come and go.
    until(lambda: count("fd") <= before[0], "descriptors")
    until(lambda: count("task") <= before[1], "threads")


def script(text, *arguments, **options):
    """Run a program whose views are asynchronous; return its output."""
    preamble = """
    import asyncio, os, sys, threading, time, warnings
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    django.setup()
    from dwebsocket import _engine, websocket
    from dwebsocket.process import exit
    from dwebsocket.runners import tasks
    from tests.python.live import Site
    from websockets.sync.client import connect
    """
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(preamble + text)],
        capture_output=True,
        text=True,
        timeout=50,
        **options,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def test_the_end_of_the_process_cancels_what_outlives_it():
    out, err = script(
        """
    ends = []
    async def view(request):
        await request.websocket.send("begun")
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
    async def background():
        try:
            await asyncio.sleep(600)
        finally:
            ends.append("background")
    async def parent(request):
        request.websocket.background = asyncio.create_task(background())
        await request.websocket.send("begun")
    site = Site({"": websocket(view), "parent": websocket(parent)},
                {"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 0.1, "SHUTDOWN_SPREAD": 0}})
    with site.connect() as one, site.connect("parent") as two:
        assert [one.recv(), two.recv()] == ["begun", "begun"]
        threads = threading.active_count()
        exit.stop()
        print(sorted(ends))
        print(tasks.runner.running(), tasks.runner._loop)
        print([t.name for t in threading.enumerate() if "websocket-loop" in t.name])
    site.stop()
    """
    )
    assert out.splitlines() == ["['background', 'cancelled']", "[] None", "[]"]
    assert "still running" in err
    assert "Traceback" not in err, err


def test_a_process_with_such_views_ends_in_peace():
    _, err = script(
        """
    async def view(request):
        async for message in request.websocket:
            await request.websocket.send(message)
    site = Site({"": websocket(view)}, {})
    # No context manager: when the interpreter ends, it would close the peer, and wait
    # for a thread that does not run any more.
    peer = connect(f"ws://127.0.0.1:{site.port}/")
    peer.send("x")
    assert peer.recv() == "x"
    site.stop()
    """
    )
    assert "Traceback" not in err, err


def test_a_forked_child_has_a_loop_of_its_own():
    script(
        """
    warnings.simplefilter("ignore", DeprecationWarning)
    async def view(request):
        async for message in request.websocket:
            await request.websocket.send(message)
    def use():
        site = Site({"": websocket(view)}, {})
        with site.connect() as peer:
            for _ in range(3):
                peer.send("x")
                assert peer.recv() == "x"
        site.stop()
    site = Site({"": websocket(view)}, {})
    with site.connect() as ours:
        ours.send("x")
        assert ours.recv() == "x"
        if not (child := os.fork()):
            code = 1
            try:
                use()
                exit.stop()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for _ in range(3):
            ours.send("y")
            assert ours.recv() == "y"
    site.stop()
    """
    )


def test_a_forked_child_leaves_the_round_of_tasks_to_its_parent():
    script(
        """
    warnings.simplefilter("ignore", DeprecationWarning)
    parent = os.getpid()
    async def view(request):
        loop = asyncio.get_running_loop()
        async for message in request.websocket:
            if message == "sleep":
                time.sleep(0.3)
            elif message != "fork":
                await request.websocket.send(message)
            elif child := os.fork():
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                await request.websocket.send(str(code))
            else:
                loop.call_later(0.3, os._exit, 0)
        if os.getpid() != parent and request.path == "/other":
            os._exit(1)
    site = Site({"": websocket(view), "other": websocket(view)}, {})
    with site.connect() as busy, site.connect() as one, site.connect("/other") as two:
        for peer in (busy, one, two):
            peer.send("x")
            assert peer.recv() == "x"
        # The loop finds the other messages together.
        busy.send("sleep")
        time.sleep(0.1)
        one.send("fork")
        time.sleep(0.02)
        two.send("pay")
        assert one.recv() == "0"
        assert two.recv() == "pay"
    site.stop()
    """
    )


def test_an_async_view_counts_as_running_at_the_end(site):
    release = Box()

    async def view(request):
        await request.websocket.wait()
        await asyncio.to_thread(release.take)

    with served(site, view).connect():
        pass
    assert not runners.join(0.05)
    assert [text for text in runners.running() if text.startswith("/")]
    release.put()
    assert runners.join(TIMEOUT)

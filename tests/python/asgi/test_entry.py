"""The application, without a network; tests/servers/test_asgi.py has real servers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, override_settings
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views import View

from dwebsocket import _engine, accept_websocket, hub, websocket
from dwebsocket.asgi import application
from dwebsocket.asgi.carrier import carried
from dwebsocket.exceptions import ConfigurationError, WebSocketClosed
from dwebsocket.runners import headers

from .server import Server

#: What views and middleware have noted.
noted: list[Any] = []
ended = threading.Event()
counted = threading.Event()


@websocket(subprotocols=["v1"])
def echo(request: Any) -> None:
    noted.append(request)
    try:
        while True:
            message = request.websocket.receive()
            if message == "prefix":
                message = reverse("echo")
            if message == "raise":
                raise RuntimeError("on purpose")
            if message == "close":
                request.websocket.close(4001, "enough")
            else:
                request.websocket.send(message)
    except WebSocketClosed as closed:
        noted.append((closed.code, closed.reason))
        raise
    finally:
        ended.set()


@websocket(inbox_messages=2, outbox_messages=4, send_timeout=0.1)
def deaf(request: Any) -> None:
    release.wait(20)
    for message in request.websocket:
        noted.append(message)
    noted.append(request.websocket.close_code)
    ended.set()


@websocket()
def ticking(request: Any) -> None:
    while request.websocket.send("tick"):
        time.sleep(0.001)
    ended.set()


@websocket(close_timeout=0.05)
def hasty(request: Any) -> None:
    request.websocket.close(4001)


@websocket()
def counting(request: Any) -> None:
    for number in range(int(request.websocket.receive())):
        request.websocket.send(str(number))
    counted.set()
    for _ in request.websocket:
        pass
    ended.set()


@websocket(outbox_messages=4, overflow="drop_newest")
def member(request: Any) -> None:
    request.websocket.join("asgi")
    request.websocket.send("joined")
    for _ in request.websocket:
        pass
    noted.append(request.websocket.stats["dropped_messages"])
    ended.set()


class Methods(View):
    """Django awaits this class in the loop of the server."""

    @method_decorator(accept_websocket(accept="manual"))
    async def get(self, request: Any) -> HttpResponse | None:
        if not request.is_websocket():
            return HttpResponse("plain")
        await request.websocket.accept()
        await request.websocket.send(await sync_to_async(str)("by hand"))
        return None


release = threading.Event()


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"one", b"two"]), status=402)


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield b"x" * 1000

    return StreamingHttpResponse(parts(), status=402)


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


class Urls:
    urlpatterns = [
        path("echo/", echo, name="echo"),
        path("deaf/", deaf),
        path("ticking/", ticking),
        path("hasty/", hasty),
        path("counting/", counting),
        path("member/", member),
        path("streamed/", streamed),
        path("endless/", endless),
        path("methods/", Methods.as_view()),
        path("forbidden/", forbidden),
    ]


class Middleware:
    """Adds a header and a cookie, or what a test wants."""

    sync_capable = True
    async_capable = False
    act: Callable[[HttpResponse], HttpResponse] | None = None

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response["X-Passed"] = "middleware"
        response.set_cookie("flavour", "sweet")
        return response if Middleware.act is None else Middleware.act(response)


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    noted.clear()
    ended.clear()
    counted.clear()
    release.clear()
    Middleware.act = None
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=[f"{__name__}.Middleware"]):
        yield
    release.set()


def run(test: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(application(get_asgi_application())), 40)
        # Nothing is left behind.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not {t for t in others if not t.done()}

    asyncio.run(main())


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def end_of_view() -> None:
    assert await in_thread(ended.wait, 20)


def test_a_websocket_is_opened_by_its_view():
    async def test(app: Any) -> None:
        server = Server(
            app,
            "/echo/",
            scheme="wss",
            subprotocols=["v0", "v1"],
            query_string=b"a=b",
            headers=[(b"host", b"testserver"), (b"cookie", b"name=value")],
        )
        accepted = await server.opened()
        assert accepted["subprotocol"] == "v1"
        assert (b"x-passed", b"middleware") in accepted["headers"]
        [cookie] = [v for n, v in accepted["headers"] if n == b"set-cookie"]
        assert cookie.startswith(b"flavour=sweet")
        server.text("hello")
        assert await server.hear() == {"type": "websocket.send", "text": "hello"}
        server.say("websocket.receive", bytes=b"\xff", text=None)
        assert await server.hear() == {"type": "websocket.send", "bytes": b"\xff"}
        request = noted[0]
        assert request.method == "GET"
        assert request.is_secure()
        assert request.META["wsgi.url_scheme"] == "https"
        assert request.get_full_path() == "/echo/?a=b"
        assert request.COOKIES == {"name": "value"}
        assert request.websocket.remote_address == ("127.0.0.1", 4711)
        assert request.is_websocket()
        assert request.body == b""
        assert "dwebsocket.line" not in request.META
        server.say("websocket.disconnect", code=4321, reason="bye")
        await server.ended()
        await end_of_view()
        assert noted[1] == (4321, "bye")
        assert server.outgoing.empty()

    run(test)


@pytest.mark.parametrize(
    ("code", "expected"), [(1000, 1000), (1005, 1005), (1006, 1006), (None, 1005)]
)
def test_the_end_that_the_server_reports(code: int | None, expected: int):
    async def test(app: Any) -> None:
        server = Server(app, "/echo/")
        await server.opened()
        server.say("websocket.disconnect", code=code)
        await server.ended()
        await end_of_view()
        assert noted[1] == (expected, "")

    run(test)


def test_the_view_closes():
    async def test(app: Any) -> None:
        server = Server(app, "/echo/")
        await server.opened()
        server.text("close")
        event = await server.hear()
        assert event == {"type": "websocket.close", "code": 4001, "reason": "enough"}
        server.say("websocket.disconnect", code=4001, reason="enough")
        await server.ended()
        await end_of_view()

    run(test)


def test_a_server_that_never_reports_the_end_is_left_alone():
    async def test(app: Any) -> None:
        with override_settings(DWEBSOCKET={"CLOSE_TIMEOUT": 0.05}):
            server = Server(app, "/echo/")
            await server.opened()
            server.text("close")
            assert (await server.hear())["type"] == "websocket.close"
            await server.ended()

    run(test)


def test_a_view_may_have_a_close_timeout_of_its_own():
    async def test(app: Any) -> None:
        with override_settings(DWEBSOCKET={"CLOSE_TIMEOUT": 600}):
            server = Server(app, "/hasty/")
            await server.opened()
            assert (await server.hear())["type"] == "websocket.close"
            await server.ended()

    run(test)


class Stubborn(Server):
    """A server whose ``send`` overlooks that it is cancelled, until it may go."""

    def __init__(self, *args: Any) -> None:
        self.cancelled, self.may_go = asyncio.Event(), asyncio.Event()
        super().__init__(*args)

    async def _send(self, event: dict[str, Any]) -> None:
        try:
            await super()._send(event)
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.may_go.wait()
            raise


def test_a_server_that_cancels_at_the_end_leaves_nothing_behind():
    async def test(app: Any) -> None:
        server = Stubborn(app, "/echo/")
        await server.opened()
        server.writable.clear()
        server.text("hello")
        await asyncio.wait_for(server.is_stuck.wait(), 20)
        server.say("websocket.disconnect", code=1000)
        await asyncio.wait_for(server.cancelled.wait(), 20)
        server.task.cancel()
        await asyncio.wait([server.task], timeout=20)
        assert carried() == 0
        server.may_go.set()
        await end_of_view()
        await asyncio.sleep(0)

    run(test)


def test_the_view_raises(caplog: pytest.LogCaptureFixture):
    async def test(app: Any) -> None:
        server = Server(app, "/echo/")
        await server.opened()
        server.text("raise")
        assert (await server.hear())["code"] == 1011
        server.say("websocket.disconnect", code=1011)
        await server.ended()

    run(test)
    assert "on purpose" in caplog.text


def test_a_site_below_a_prefix():
    async def test(app: Any) -> None:
        server = Server(app, "/below/echo/", root_path="/below")
        await server.opened()
        assert reverse("echo", urlconf=Urls) == "/echo/"
        server.text("prefix")
        assert (await server.hear())["text"] == "/below/echo/"
        assert noted[0].path == "/below/echo/"
        assert noted[0].path_info == "/echo/"
        server.say("websocket.disconnect", code=1000)
        await server.ended()

    run(test)


def test_refusals_have_cookies_with_all_letters():
    def act(response: HttpResponse) -> HttpResponse:
        headers.add(response, [("Set-Cookie", "\xe9=\xfc; Partitioned")])
        return response

    async def test(app: Any) -> None:
        _, found, _ = await Server(app, "/forbidden/").refused()
        assert found[b"set-cookie"] == b"\xe9=\xfc; Partitioned"

    Middleware.act = act
    run(test)


def test_refusals_have_their_status():
    async def test(app: Any) -> None:
        status, headers, body = await Server(app, "/forbidden/").refused()
        assert (status, headers[b"x-passed"]) == (403, b"middleware")
        assert headers[b"set-cookie"].startswith(b"flavour=sweet")
        assert b"Forbidden" in body
        assert (await Server(app, "/streamed/").refused())[::2] == (402, b"onetwo")
        origin = [(b"host", b"testserver"), (b"origin", b"https://evil.example")]
        assert (await Server(app, "/echo/", headers=origin).refused())[0] == 403
        assert (await Server(app, "/nothing/").refused())[0] == 404
        server = Server(app, "/nothing/", extensions=None)
        assert (await server.hear())["type"] == "websocket.close"
        await server.ended()
        query = Server(app, "/echo/", query_string=b"\xff")
        assert (await query.refused())[0] == 400

    run(test)


def test_a_header_that_cannot_be_sent_is_an_error_of_the_site():
    def spoil(response: HttpResponse) -> HttpResponse:
        response.headers["Sec-WebSocket-Protocol"] = "mine"
        response.headers["Content-Length"] = "7"
        response.headers._store["x-bad"] = ("X-Bad", "a\r\nb")
        return response

    async def test(app: Any) -> None:
        Middleware.act = spoil
        before = _engine.connection_count()
        assert (await Server(app, "/echo/").refused())[0] == 500
        assert _engine.connection_count() == before

    run(test)


def test_middleware_that_answers_itself_refuses():
    async def test(app: Any) -> None:
        Middleware.act = lambda response: HttpResponse("no", status=418)
        status, _, body = await Server(app, "/echo/").refused()
        assert (status, body) == (418, b"no")

    run(test)


@pytest.mark.parametrize("chain", [[], [f"{__name__}.Middleware"]])
def test_an_asynchronous_method_with_a_decorator_of_functions(chain: list[str]):
    async def test(app: Any) -> None:
        response = await AsyncClient().get("/methods/")
        assert (response.status_code, response.content) == (200, b"plain")
        server = Server(app, "/methods/")
        await server.opened()
        event = await server.hear()
        assert str(event.get("text") or event["bytes"].decode()) == "by hand"
        assert (await server.hear())["type"] == "websocket.close"
        server.say("websocket.disconnect", code=1000)
        await server.ended()

    with override_settings(MIDDLEWARE=chain):
        run(test)


def test_the_parts_of_a_small_refusal_are_sent_as_one():
    """granian sends an empty 403 if there are several."""

    async def test(app: Any) -> None:
        server = Server(app, "/streamed/")
        assert (await server.hear())["status"] == 402
        event = await server.hear()
        assert (event["body"], event["more_body"]) == (b"onetwo", False)
        await server.ended()

    run(test)


def test_the_parts_of_a_large_refusal_are_not_collected():
    async def test(app: Any) -> None:
        server = Server(app, "/endless/")
        assert (await server.hear())["status"] == 402
        for _ in range(3):
            event = await server.hear()
            assert event["more_body"]
            assert len(event["body"]) == 65_000
        server.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server.task

    run(test)


def test_a_place_of_a_refused_handshake_is_free_again():
    async def test(app: Any) -> None:
        with override_settings(DWEBSOCKET={"MAX_CONNECTIONS": 1}):
            first = Server(app, "/echo/")
            await first.opened()
            status, headers, _ = await Server(app, "/echo/").refused()
            assert (status, headers[b"retry-after"]) == (503, b"10")
            first.say("websocket.disconnect", code=1000)
            await first.ended()
            while _engine.connection_count():
                await asyncio.sleep(0.01)
            second = Server(app, "/echo/")
            await second.opened()
            second.say("websocket.disconnect", code=1000)
            await second.ended()

    run(test)


def test_the_server_is_read_no_faster_than_the_view():
    async def test(app: Any) -> None:
        server = Server(app, "/deaf/")
        await server.opened()
        count = 500
        for number in range(count):
            server.text(str(number))
        # The inbox has room for 2 messages, the queue for 64; then nobody reads.
        size = None
        while size != server.incoming.qsize():
            size = server.incoming.qsize()
            await asyncio.sleep(0.1)
        assert count - 100 < size < count - 60
        release.set()
        while server.incoming.qsize():
            await asyncio.sleep(0.01)
        server.say("websocket.disconnect", code=1000)
        await server.ended()
        await end_of_view()
        assert noted == [*map(str, range(count)), 1000]

    run(test)


def test_the_peers_code_arrives_behind_a_full_queue():
    async def test(app: Any) -> None:
        server = Server(app, "/deaf/")
        await server.opened()
        # Two in the inbox, 64 in the queue.
        count = 66
        for number in range(count):
            server.text(str(number))
        server.say("websocket.disconnect", code=4001)
        await server.ended()
        release.set()
        await end_of_view()
        assert noted == [*map(str, range(count)), 4001]

    run(test)


def test_a_view_that_only_sends_ends_though_nobody_reads_its_messages():
    async def test(app: Any) -> None:
        server = Server(app, "/ticking/")
        await server.opened()
        # More than the inbox and the queue have room for.
        for number in range(400):
            server.text(str(number))
        while server.incoming.qsize() > 400 - 256 - 64:
            await server.hear()
        server.broken = OSError("the peer has gone")
        await end_of_view()
        server.task.cancel()
        await asyncio.wait([server.task])

    run(test)


def test_a_peer_that_reads_nothing_loses_what_its_policy_says():
    async def test(app: Any) -> None:
        server = Server(app, "/member/")
        await server.opened()
        assert (await server.hear())["text"] == "joined"
        server.writable.clear()
        dropped = 0
        for number in range(300):
            sent = await in_thread(hub.group("asgi").send, str(number))
            dropped += sent.dropped
        assert dropped >= 300 - 64 - 64 - 4 - 1
        server.writable.set()
        texts = [(await server.hear())["text"] for _ in range(300 - dropped)]
        assert texts[0] == "0"
        assert sorted(map(int, texts)) == list(map(int, texts))
        server.say("websocket.disconnect", code=1000)
        await server.ended()
        await end_of_view()
        assert noted == [dropped]

    run(test)


def test_one_descriptor_wakes_a_loop_for_all_of_its_connections():
    async def test(app: Any) -> None:
        servers = [Server(app, "/member/") for _ in range(50)]
        for server in servers:
            await server.opened()
            assert (await server.hear())["text"] == "joined"
        loop = asyncio.get_running_loop()
        calls = []
        original = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args, **kwargs: (  # type: ignore[method-assign]
            calls.append(args),
            original(*args, **kwargs),
        )[1]
        # In a thread of ours: an executor would wake the loop for its result.
        thread = threading.Thread(target=hub.group("asgi").send, args=("all",))
        thread.start()
        for server in servers:
            assert (await server.hear())["text"] == "all"
        del loop.call_soon_threadsafe
        thread.join()
        assert not calls
        for server in servers:
            server.say("websocket.disconnect", code=1000)
            await server.ended()

    run(test)


def test_a_send_that_fails_ends_the_view(caplog: pytest.LogCaptureFixture):
    async def test(app: Any) -> None:
        server = Server(app, "/echo/")
        await server.opened()
        server.broken = OSError("gone")
        server.text("hello")
        server.say("websocket.disconnect", code=1006)
        await server.ended()
        await end_of_view()
        assert noted[1][0] == 1006

    with caplog.at_level(logging.WARNING):
        run(test)
    assert not caplog.records


def test_a_peer_that_is_gone_before_the_answer(caplog: pytest.LogCaptureFixture):
    async def test(app: Any) -> None:
        server = Server(app, "/echo/")
        server.broken = OSError("gone")
        await server.ended()
        await end_of_view()
        assert noted[1] == (1006, "")

    with caplog.at_level(logging.WARNING):
        run(test)
    assert not caplog.records


def test_a_server_that_cancels_says_goodbye():
    async def test(app: Any) -> None:
        server = Server(app, "/echo/")
        await server.opened()
        server.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server.task
        event = await server.hear()
        assert (event["type"], event["code"]) == ("websocket.close", 1012)
        await end_of_view()

    run(test)


@contextlib.asynccontextmanager
async def stuck(app: Any, count: int) -> AsyncIterator[Server]:
    """Have a server cancel a connection whose peer has not read its messages yet."""
    server = Server(app, "/counting/")
    await server.opened()
    server.writable.clear()
    server.text(str(count))
    # All of them have been taken by the connection, and some by the carrier.
    assert await in_thread(counted.wait, 20)
    await server.is_stuck.wait()
    yield server
    with contextlib.suppress(asyncio.CancelledError):
        await server.task
    await end_of_view()


def heard(server: Server) -> list[Any]:
    got = []
    while not server.outgoing.empty():
        event = server.outgoing.get_nowait()
        close = event["type"] == "websocket.close"
        got.append(event["code"] if close else int(event["text"]))
    return got


def test_what_waits_is_sent_without_a_gap_when_a_server_cancels():
    async def test(app: Any) -> None:
        async with stuck(app, 100) as server:
            server.task.cancel()
            await asyncio.sleep(0)
            server.writable.set()
        *got, code = heard(server)
        assert len(got) >= 64
        assert (got, code) == (list(range(len(got))), 1012)

    run(test)


def test_what_waits_is_given_up_when_the_whole_loop_is_cancelled():
    async def test(app: Any) -> None:
        others = asyncio.all_tasks()
        async with stuck(app, 100) as server:
            for task in asyncio.all_tasks() - others:
                task.cancel()
            server.writable.set()
        # Nobody knows whether the first one has gone out.
        assert heard(server) == [1012]

    run(test)


def test_a_close_that_was_sent_is_not_sent_again_when_a_server_cancels():
    async def test(app: Any) -> None:
        server = Server(app, "/echo/")
        await server.opened()
        server.text("close")
        assert (await server.hear())["code"] == 4001
        server.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server.task
        assert heard(server) == []
        await end_of_view()

    run(test)


def test_http_goes_to_the_inner_application_untouched():
    async def test(app: Any) -> None:
        seen = []

        async def inner(*args: Any) -> None:
            seen.append(args)

        outer = application(inner)
        args = {"type": "http"}, object(), object()
        await outer(*args)
        assert seen == [args]

    run(test)


def test_djangos_handler_is_found_behind_others():
    async def test(app: Any) -> None:
        class Wrapping:
            def __init__(self, app: Any) -> None:
                self.app = app

        handler = get_asgi_application()
        outer = application(Wrapping(Wrapping(handler)))  # type: ignore[arg-type]
        server = Server(outer, "/echo/")
        await server.opened()
        assert outer._handler is handler
        server.say("websocket.disconnect", code=1000)
        await server.ended()

    with contextlib.suppress(ConfigurationError):
        run(test)


def test_what_is_no_application_is_refused():
    with pytest.raises(ConfigurationError, match="get_asgi_application"):
        application("mysite.asgi.application")  # type: ignore[arg-type]


def test_the_view_runs_in_a_thread_of_its_own():
    async def test(app: Any) -> None:
        names = []

        @sync_to_async
        def busy() -> None:
            names.append(threading.current_thread().name)
            release.wait(5)

        waiting = asyncio.create_task(busy())
        server = Server(app, "/echo/")
        await server.opened()
        server.text("hello")
        # asgiref's single thread is occupied meanwhile.
        assert (await server.hear())["text"] == "hello"
        release.set()
        await waiting
        server.say("websocket.disconnect", code=1000)
        await server.ended()

    run(test)

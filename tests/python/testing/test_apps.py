"""ASGI applications as views, tested by the same clients."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path

from dwebsocket import _engine, hub, signals
from dwebsocket.asgi import as_view
from dwebsocket.asgi.apps.talk import Talk
from dwebsocket.exceptions import ConfigurationError, WebSocketClosed
from dwebsocket.runners import acall, tasks
from dwebsocket.testing import ViewNotEnded, WebSocketRefused, aconnect, connect
from dwebsocket.websocket.endpoint import of

COOKIES = ["a=1; Partitioned", "b=1; Path=/", "b=2; Path=/x", 'j={"x":1}']

noted: list[Any] = []
done = threading.Event()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise ValueError("unknown")
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
    noted.append(event)


async def saves(scope: Any, receive: Any, send: Any) -> None:
    """Write to the database before the opening, and after it."""
    assert scope["type"] == "websocket"
    await receive()
    await Group.objects.acreate(name="early")
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await Group.objects.acreate(name=event["text"])


async def session(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    scope["session"]["seen"] = "before"
    await send({"type": "websocket.accept"})
    user = scope["user"]
    await send({"type": "websocket.send", "text": f"{user}"})
    await receive()
    scope["session"]["seen"] = "after"
    scope["session"].modified = True


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4000})
    noted.append(await receive())
    await send({"type": "websocket.close"})
    with pytest.raises(OSError, match="1006"):
        await send({"type": "websocket.accept"})
    done.set()


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the URL says."""
    kind = scope["url_route"]["kwargs"]["kind"]
    await receive()
    if kind == "forbidden":
        raise PermissionDenied("not you")
    if kind == "subprotocol":
        await send({"type": "websocket.accept", "subprotocol": "unknown"})
    if kind == "line-break":
        headers = [(b"x-a", b"b\r\nset-cookie: c=d")]
        await send({"type": "websocket.accept", "headers": headers})
    if kind == "early":
        await send({"type": "websocket.send", "text": "too early"})
    if kind == "status":
        await send({"type": "websocket.http.response.start", "status": 101})
    if kind == "redirect":
        headers = [(b"location", b"/login/"), (b"x-a", b"b"), (b"x-a", b"c")]
        start = {"type": "websocket.http.response.start", "status": 302}
        await send({**start, "headers": headers})
        await send({"type": "websocket.http.response.body"})


async def wrong(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", "headers": [(b"X-A", b"b")]})
    await receive()
    await send({"type": "websocket.accept"})


async def closes(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    cookies = [(b"set-cookie", b"a=b; Path=/"), (b"set-cookie", b"c=d; HttpOnly")]
    await send({"type": "websocket.accept", "headers": cookies})
    await receive()
    await send({"type": "websocket.close", "code": 4002, "reason": "enough"})
    for _ in range(5):
        noted.append((await receive())["code"])
    with pytest.raises(OSError, match="4002"):
        await send({"type": "websocket.send", "text": "too late"})
    await send({"type": "websocket.close"})
    noted.append("closed")


async def decides(scope: Any, receive: Any, send: Any) -> None:
    """Decide nothing, in the way that the URL says."""
    kind = scope["url_route"]["kwargs"]["kind"]
    await receive()
    if kind == "cancelled":
        raise asyncio.CancelledError
    if kind == "never":
        try:
            await receive()
        except asyncio.CancelledError:
            done.set()
            raise


async def never_ends(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.sleep(600)


async def waits(scope: Any, receive: Any, send: Any) -> None:
    """Wait for the end, in spite of being told of it again and again."""
    await receive()
    try:
        await send({"type": "websocket.accept"})
    except OSError:
        noted.append("not opened")
    try:
        while True:
            noted.append((await receive())["type"])
    except asyncio.CancelledError:
        done.set()
        raise


async def bakes(scope: Any, receive: Any, send: Any) -> None:
    """Send cookies of which Python knows not all, in the way that the URL says."""
    kind = scope["url_route"]["kwargs"]["kind"]
    await receive()
    headers = [(b"set-cookie", cookie.encode()) for cookie in COOKIES]
    if kind == "accept":
        await send({"type": "websocket.accept", "headers": headers})
        return
    start = {"type": "websocket.http.response.start", "status": 401}
    await send({**start, "headers": headers})
    await send({"type": "websocket.http.response.body"})


async def hasty(scope: Any, receive: Any, send: Any) -> None:
    """Accept before the first event."""
    await send({"type": "websocket.accept"})
    # It is acknowledged: the message is there before the first receive().
    websocket = scope["extensions"]["dwebsocket"]["websocket"]
    while not of(websocket).connection.pending:
        await asyncio.sleep(0.001)
    while (event := await receive())["type"] != "websocket.disconnect":
        noted.append(event["type"])
    noted.append(event["type"])
    noted.append((await receive())["type"])


async def side(scope: Any, receive: Any, send: Any) -> None:
    """Cancel a receive() again and again; other tasks send."""
    await receive()
    await send({"type": "websocket.accept"})
    websocket = scope["extensions"]["dwebsocket"]["websocket"]
    await websocket.join("side")
    while True:
        try:
            event = await asyncio.wait_for(receive(), 0.001)
        except asyncio.TimeoutError:
            continue
        if event["type"] == "websocket.disconnect":
            return
        await asyncio.create_task(
            send({"type": "websocket.send", "text": event["text"]})
        )


async def thread(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    first = await sync_to_async(threading.get_ident)()
    await send({"type": "websocket.accept"})
    other = await sync_to_async(threading.get_ident)()
    assert threading.get_ident() not in (first, other)
    await send({"type": "websocket.send", "bytes": b"ok"})


urlpatterns = [
    path("echo/", as_view(echo)),
    path("saves/", as_view(saves)),
    path("session/", as_view(session)),
    path("refuses/", as_view(refuses)),
    path("answers/<str:kind>/", as_view(answers)),
    path("wrong/", as_view(wrong)),
    path("closes/", as_view(closes)),
    path("decides/<str:kind>/", as_view(decides, accept_timeout=0.1)),
    path("never-ends/", as_view(never_ends, end_timeout=None)),
    path("waits/", as_view(waits, end_timeout=0.1)),
    path("bakes/<str:kind>/", as_view(bakes)),
    path("hasty/", as_view(hasty)),
    path("side/", as_view(side)),
    path("thread/", as_view(thread)),
]


@pytest.fixture(autouse=True)
def urls_of_applications(urls: None) -> Iterator[None]:
    noted.clear()
    done.clear()
    with override_settings(ROOT_URLCONF=__name__):
        yield


def test_messages(client: Client) -> None:
    with connect(client, "/echo/") as ws:
        for message in ("one", b"\xff", ""):
            ws.send(message)
            assert ws.receive() == message
        ws.receive_nothing(0.02)
        ws.close(4001, "bye")
    assert noted == [{"type": "websocket.disconnect", "code": 4001, "reason": "bye"}]


def test_an_asynchronous_test(client: Client) -> None:
    async def talk() -> None:
        async with aconnect(client, "/echo/") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"

    asyncio.run(talk())


@pytest.mark.django_db
def test_it_uses_the_database_of_the_test(client: Client) -> None:
    with connect(client, "/saves/") as ws:
        assert Group.objects.filter(name="early").exists()
        ws.send("later")
        assert Group.objects.count() == 2


@pytest.mark.django_db
def test_what_it_has_written_is_rolled_back() -> None:
    assert not Group.objects.exists()


@pytest.mark.django_db
def test_the_user_and_the_session_are_djangos(client: Client) -> None:
    client.force_login(User.objects.create(username="ada"))
    with connect(client, "/session/") as ws:
        assert ws.receive() == "ada"
        assert client.session["seen"] == "before"
        ws.send("go on")
    assert client.session["seen"] == "after"


def test_a_refusal(client: Client) -> None:
    heard: list[Any] = []

    def hear(sender: Any, status: int, reason: str, **named: Any) -> None:
        heard.append((status, reason))

    signals.websocket_rejected.connect(hear)
    with pytest.raises(WebSocketRefused) as refused:
        connect(client, "/refuses/")
    signals.websocket_rejected.disconnect(hear)
    assert refused.value.response.status_code == 403
    assert "Upgrade" in refused.value.response["Vary"]
    assert heard == [(403, "the application has closed it")]
    assert done.wait(10)
    assert noted == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    # Connections of other tests may still be about to end.
    deadline = time.monotonic() + 20
    while _engine.connection_count() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert _engine.connection_count() == 0


def test_a_refusal_with_headers(client: Client) -> None:
    with pytest.raises(WebSocketRefused) as refused:
        connect(client, "/answers/redirect/")
    response = refused.value.response
    assert (response.status_code, response["Location"]) == (302, "/login/")
    assert response["X-A"] == "b, c"
    assert "Content-Type" not in response


@pytest.mark.parametrize(
    ("kind", "error", "match"),
    [
        ("subprotocol", ValueError, "does not offer the subprotocol 'unknown'"),
        ("line-break", ValueError, "a header has a line break"),
        ("early", RuntimeError, "is not open yet"),
        ("status", ValueError, "from 200 to 599, not 101"),
    ],
)
def test_a_wrong_answer_is_the_applications_mistake(
    client: Client, kind: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        connect(client, f"/answers/{kind}/")


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("never", 503, b"within 0.1 seconds"),
        ("returns", 500, b"has ended, and has neither accepted nor refused"),
        ("cancelled", 503, b"was cancelled"),
    ],
)
def test_an_application_that_does_not_decide(
    client: Client, kind: str, status: int, body: bytes
) -> None:
    with pytest.raises(WebSocketRefused) as refused:
        connect(client, f"/decides/{kind}/")
    assert refused.value.response.status_code == status
    assert body in refused.value.response.content
    assert kind != "never" or done.wait(10)


def test_the_application_closes(client: Client) -> None:
    with connect(client, "/closes/") as ws:
        assert client.cookies["a"].value == "b"
        assert client.cookies["c"]["httponly"]
        ws.send("go on")
        assert ws.wait_closed() == 4002
        assert ws.close_reason == "enough"
    assert noted == [4002] * 5 + ["closed"]


def test_an_application_that_overlooks_the_end_is_cancelled(
    client: Client, caplog: Any
) -> None:
    with connect(client, "/waits/"):
        pass
    assert done.is_set()
    # It is told at full speed thrice.
    assert 1 < len(noted) < 10
    assert "still running 0.1 seconds after its client had gone" in caplog.text


def test_plain_http_is_426(client: Client) -> None:
    response = client.get("/echo/")
    assert response.status_code == 426
    assert response["Vary"] == "Upgrade"


def test_exceptions_of_django_are_its_responses(client: Client) -> None:
    with pytest.raises(WebSocketRefused) as refused:
        connect(client, "/answers/forbidden/")
    assert refused.value.response.status_code == 403


def test_an_event_that_does_not_fit_is_the_applications_mistake(
    client: Client,
) -> None:
    def talk() -> None:
        with connect(client, "/wrong/") as ws:
            assert ws.headers["X-A"] == "b"
            ws.send("x")
            assert ws.wait_closed() == 1011

    with pytest.raises(RuntimeError, match=r"'websocket\.accept' does not fit"):
        talk()


def test_an_application_that_does_not_end_is_cancelled(client: Client) -> None:
    """The test says where it is."""
    with pytest.raises(ViewNotEnded, match=r"test_apps\.never_ends") as failure:  # noqa: SIM117
        with connect(client, "/never-ends/", timeout=0.1):
            pass
    assert "await asyncio.sleep(600)" in str(failure.value)


class Replaces:
    """A middleware that returns a response of its own."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        self.get_response(request)
        return HttpResponse("no", status=402)


def test_a_middleware_refuses(client: Client, caplog: Any) -> None:
    caplog.set_level(logging.WARNING, "dwebsocket")
    with (
        override_settings(MIDDLEWARE=[f"{__name__}.Replaces"]),
        pytest.raises(WebSocketRefused) as refused,
    ):
        connect(client, "/waits/")
    assert refused.value.response.status_code == 402
    assert done.wait(10)
    assert noted[:2] == ["not opened", "websocket.disconnect"]
    # It is told at full speed thrice.
    assert len(noted) < 10
    assert "A middleware has returned another response" in caplog.text
    assert "still running 0.1 seconds after its client had gone" in caplog.text


def test_a_call_that_fails_before_the_view_leaves_no_application(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: Any) -> None:
        raise LookupError("before the view")

    monkeypatch.setattr(acall.AsyncCall, "_begin", fail)

    def talk() -> None:
        with connect(client, "/waits/") as ws:
            assert ws.wait_closed() == 1011

    with pytest.raises(LookupError, match="before the view"):
        talk()
    assert done.wait(10)
    assert noted[0] == "not opened"


def test_signals_are_sent_as_for_views(client: Client) -> None:
    heard: list[Any] = []

    def opened(sender: Any, websocket: Any, **named: Any) -> None:
        heard.append(("opened", websocket.is_closed()))

    def message(sender: Any, message: Any, **named: Any) -> None:
        heard.append(("message", message))

    def closed(sender: Any, code: int, **named: Any) -> None:
        heard.append(("closed", code))

    signals.websocket_opened.connect(opened)
    signals.websocket_message.connect(message)
    signals.websocket_closed.connect(closed)
    try:
        with connect(client, "/echo/") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"
    finally:
        signals.websocket_opened.disconnect(opened)
        signals.websocket_message.disconnect(message)
        signals.websocket_closed.disconnect(closed)
    assert heard == [("opened", False), ("message", "hello"), ("closed", 1000)]


def test_a_cancelled_receive_loses_nothing(client: Client) -> None:
    with connect(client, "/side/") as ws:
        for number in range(300):
            ws.send(str(number))
            assert ws.receive() == str(number)
        hub.group("side").send("to all")
        assert ws.receive() == "to all"


@pytest.mark.parametrize("kind", ["accept", "refuse"])
def test_the_client_gets_all_cookies(client: Client, kind: str) -> None:
    with contextlib.suppress(WebSocketRefused), connect(client, f"/bakes/{kind}/"):
        pass
    assert [cookie.OutputString() for cookie in client.cookies.values()] == COOKIES
    # It sends them with its next request.
    request = client.get("/echo/").wsgi_request
    assert request.META["HTTP_COOKIE"] == 'a=1; b=1; b=2; j={"x":1}'


def test_connect_is_the_first_event_for_those_that_accept_before_it(
    client: Client,
) -> None:
    with connect(client, "/hasty/") as ws:
        ws.send("message")
    names = ["connect", "receive", "disconnect", "disconnect"]
    assert noted == [f"websocket.{name}" for name in names]


def test_synchronous_code_has_another_thread(client: Client) -> None:
    with connect(client, "/thread/") as ws:
        assert ws.receive() == b"ok"
        assert ws.wait_closed() == 1000


def test_nothing_is_left_behind(client: Client, caplog: Any) -> None:
    """Applications that end, refuse, raise, are cancelled."""
    # pytest would keep the tracebacks.
    caplog.set_level(logging.CRITICAL + 1, "django.request")

    def open_all() -> None:
        for url in ("/echo/", "/thread/"):
            connect(client, url).leave()
        for url in ("/refuses/", "/answers/forbidden/", "/answers/redirect/"):
            with pytest.raises(WebSocketRefused):
                connect(client, url)
        with contextlib.suppress(ValueError):
            connect(client, "/answers/status/")

    def left() -> list[Talk]:
        gc.collect()
        talks = [found for found in gc.get_objects() if type(found) is Talk]
        return [talk for talk in talks if all(talk is not one for one in before)]

    before: list[Talk] = []
    open_all()
    # Those of earlier tests, and what a thread or the log holds on to.
    before = left()
    for _ in range(10):
        open_all()
    loop: Any = tasks.runner._loop

    def running() -> list[str]:
        names = [task.get_name() for task in asyncio.all_tasks(loop.asyncio)]
        return [name for name in names if name == "websocket-application"]

    deadline = time.monotonic() + 20
    while (running() or len(left()) >= 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not running()
    assert len(left()) < 5
    assert _engine.connection_count() == 0


class Consumer:
    """As consumers of Channels are."""

    @classmethod
    def as_asgi(cls) -> Any:
        """Return the application."""


@pytest.mark.parametrize(
    ("app", "options", "match"),
    [
        (Consumer, {}, r"write as_view\(Consumer.as_asgi\(\)\)"),
        (42, {}, "takes an ASGI application, not 42"),
        (echo, {"accept_timeout": 0}, "accept_timeout"),
        (echo, {"end_timeout": -1}, "end_timeout: None or a number"),
        (echo, {"dialect": "classic"}, "has no dialect"),
        (echo, {"max_mesage_size": 5}, "max_message_size"),
    ],
)
def test_wrong_arguments(app: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        as_view(app, **options)


def test_the_view_has_the_name_of_its_application() -> None:
    view: Any = as_view(echo)
    assert (view.__name__, view.__module__) == ("echo", __name__)
    assert view.__doc__ is None


def test_a_send_after_the_end_is_an_os_error() -> None:
    assert issubclass(WebSocketClosed, OSError)

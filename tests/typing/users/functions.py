"""Views that are functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, assert_type

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.test import RequestFactory
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from dwebsocket import (
    ClassicWebSocketRequest,
    WebSocketRequest,
    accept_websocket,
    require_websocket,
    websocket,
)
from dwebsocket.websocket import WebSocket


@websocket
def echo(request: WebSocketRequest) -> None:
    for message in request.websocket:
        assert_type(message, str | bytes)
        request.websocket.send(message)
    assert_type(request.websocket.wait(), str | bytes | None)
    assert_type(request.websocket.wait(0.5), str | bytes | None)
    assert_type(request.websocket.receive(), str | bytes)
    assert_type(request.websocket.read(), str | bytes | None)
    assert_type(request.websocket.read(7), str | bytes | int)
    assert_type(request.is_websocket(), bool)


@accept_websocket
def old_echo(request: ClassicWebSocketRequest) -> None:
    for message in request.websocket:
        assert_type(message, bytes | None)
        # error: mypy=arg-type pyright=reportArgumentType
        request.websocket.send(message)
        if message is not None:
            request.websocket.send(message)
    assert_type(request.websocket.wait(), bytes | None)
    assert_type(request.websocket.receive(), bytes)
    assert_type(request.websocket.read(), bytes | None)
    assert_type(request.websocket.read(7), bytes | int | None)


@require_websocket
def old_required(request: ClassicWebSocketRequest, room: str) -> None:
    message = request.websocket.wait()
    # error: mypy=union-attr pyright=reportOptionalMemberAccess
    message.decode()
    while message is not None:
        request.websocket.send(message.decode() + room)
        message = request.websocket.wait()


@websocket
def chat(request: WebSocketRequest, room: str, page: int = 1) -> None:
    request.websocket.join(f"chat.{room}")
    request.websocket.send_json({"page": page})


@accept_websocket
def both(request: ClassicWebSocketRequest) -> HttpResponse | None:
    if not request.is_websocket():
        return render(request, "page.html")
    if not request.is_websocket:
        return HttpResponse("page")
    for message in request.websocket:
        if message is None:
            break
        request.websocket.send(message)
    return None


@websocket
def either(request: WebSocketRequest[WebSocket | None]) -> HttpResponse:
    # error: mypy=union-attr pyright=reportOptionalMemberAccess
    request.websocket.send("x")
    if request.websocket is None:
        return HttpResponse("page")
    request.websocket.send("hello")
    return HttpResponse()


@websocket
def unaware(request: HttpRequest) -> None:
    # error: mypy=attr-defined pyright=reportAttributeAccessIssue
    request.websocket.send("x")


@accept_websocket(dialect="modern", max_message_size=65_536, compression="off")
def arguments(request: WebSocketRequest) -> None:
    assert_type(request.websocket.wait(), str | bytes | None)


@websocket(dialect="classic", idle_timeout=None, ping_interval=30)
def classic(request: ClassicWebSocketRequest, pk: int) -> None:
    assert_type(request.websocket.wait(), bytes | None)


@websocket(dialect=None, allowed_origins=["https://example.com"])
def default(request: WebSocketRequest) -> None: ...


@require_websocket(subprotocols=("chat.v2", "chat.v1"))
def subprotocols(request: ClassicWebSocketRequest) -> None:
    request.websocket.send(request.websocket.subprotocol or "none")


def choose(request: HttpRequest, offered: list[str]) -> str | None:
    return offered[0] if offered and request.method else None


@websocket(subprotocols=choose)
def chosen(request: WebSocketRequest) -> None: ...


@login_required
@websocket
def private(request: WebSocketRequest) -> None:
    if request.user.is_authenticated:
        request.websocket.send(request.user.get_username())


@websocket
@login_required
def private_inside(request: WebSocketRequest) -> HttpResponse:
    request.websocket.send("hello")
    return HttpResponse()


@csrf_exempt
@require_GET
@permission_required("polls.change_choice")
@login_required(login_url="/in/")
@require_websocket(accept="manual")
def decides(request: ClassicWebSocketRequest) -> HttpResponse | None:
    request.websocket.accept(subprotocol="chat", headers=[("Set-Cookie", "a=1")])
    return None


@websocket(max_message_size=1)
def stacked(request: WebSocketRequest, slug: str) -> None: ...


@websocket
@csrf_exempt
def exempt(request: WebSocketRequest) -> None: ...


@websocket
@accept_websocket
def twice(request: HttpRequest) -> None: ...


@websocket
def streams(request: WebSocketRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse([b"x"])


@websocket
def anything(request: Any, *args: Any, **kwargs: Any) -> Any:
    return None


@websocket
def keyword_only(request: WebSocketRequest, *, room: str) -> None: ...


def logged(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    return view


@logged
@websocket
def behind_own(request: WebSocketRequest) -> None: ...


def plain(request: WebSocketRequest, topic: str) -> None: ...


news = websocket(partial(plain, topic="news"))

urlpatterns = [
    path("echo/", echo),
    path("old/", old_echo),
    path("required/<str:room>/", old_required, name="required"),
    path("chat/<slug:room>/", chat, {"page": 2}, "chat"),
    re_path(r"^chat/(?P<room>\w+)/$", chat),
    path("both/", both),
    path("either/", either),
    path("unaware/", unaware),
    path("arguments/", arguments),
    path("classic/<int:pk>/", classic),
    path("default/", default),
    path("subprotocols/", subprotocols),
    path("chosen/", chosen),
    path("private/", private),
    path("private-inside/", private_inside),
    path("stacked/<slug:slug>/", stacked),
    path("exempt/", exempt),
    path("twice/", twice),
    path("streams/", streams),
    path("anything/", anything),
    path("keyword/<str:room>/", keyword_only),
    path("behind/", behind_own),
    path("news/", news),
    path("direct/", websocket(plain), {"topic": "news"}),
    path("late/", websocket(max_message_size=1)(plain)),
    path("exempted/", csrf_exempt(login_required(websocket(plain)))),
]

# error: mypy=arg-type pyright=reportCallIssue,reportArgumentType
path("undecorated/", plain)

# A decorated view takes any request, and the arguments of the view.
request = RequestFactory().get("/")
assert_type(echo(request), HttpResponse)
chat(request, "lobby")
chat(request, room="lobby", page=2)
# error: mypy=arg-type pyright=reportArgumentType
chat(request, room=1)
# error: mypy=call-arg pyright=reportCallIssue
chat(request)
# error: mypy=call-arg pyright=reportCallIssue
chat(request, "lobby", pages=2)
keyword_only(request, room="lobby")
classic(request, 1)
# error: mypy=arg-type pyright=reportArgumentType
classic(request, "one")

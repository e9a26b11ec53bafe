"""A view whose request has the type of the other dialect fits nowhere."""

from __future__ import annotations

from typing import Any, assert_type

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.urls import path

from dwebsocket import (
    ClassicWebSocketRequest,
    WebSocketRequest,
    accept_websocket,
    require_websocket,
    websocket,
)
from dwebsocket.websocket import WebSocket


@accept_websocket
def modern_request(request: WebSocketRequest) -> None: ...


@require_websocket(max_message_size=1)
def modern_required(request: WebSocketRequest, room: str) -> None: ...


@websocket
def classic_request(request: ClassicWebSocketRequest) -> None: ...


@websocket(dialect="classic")
def modern_argument(request: WebSocketRequest) -> None: ...


@accept_websocket(dialect="modern")
def classic_argument(request: ClassicWebSocketRequest) -> None: ...


@websocket
def classic_optional(request: WebSocketRequest[WebSocket[bytes] | None]) -> None: ...


# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
@login_required
@accept_websocket
def behind_login(request: WebSocketRequest) -> None: ...


# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("1/", modern_request)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("2/", modern_required)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("3/", classic_request)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("4/", modern_argument)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("5/", classic_argument)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
path("6/", classic_optional)

# Helpers for one dialect, and for either.


def greet(socket: WebSocket) -> None:
    for message in socket:
        assert_type(message, str | bytes)


def greet_classic(socket: WebSocket[bytes]) -> None:
    for message in socket:
        assert_type(message, bytes | None)


def send_news(socket: WebSocket[Any]) -> None:
    socket.send("news")


def any_request(request: WebSocketRequest[WebSocket[Any] | None]) -> None:
    if request.websocket is not None:
        send_news(request.websocket)


@websocket
def modern(request: WebSocketRequest) -> None:
    greet(request.websocket)
    # error: mypy=arg-type pyright=reportArgumentType
    greet_classic(request.websocket)
    send_news(request.websocket)
    any_request(request)
    any_dialect(request)


@accept_websocket
def classic(request: ClassicWebSocketRequest) -> None:
    # error: mypy=arg-type pyright=reportArgumentType
    greet(request.websocket)
    greet_classic(request.websocket)
    send_news(request.websocket)
    any_request(request)
    any_dialect(request)
    # A decorated view may be called by a view of the other dialect.
    modern(request)


@websocket
def any_dialect(request: WebSocketRequest[WebSocket[Any]]) -> None:
    send_news(request.websocket)


@accept_websocket
def any_dialect_classic(request: WebSocketRequest[WebSocket[Any]]) -> None:
    send_news(request.websocket)


def both_dialects(request: HttpRequest) -> None: ...


more = [
    path("modern/", websocket(both_dialects)),
    path("classic/", accept_websocket(both_dialects)),
    path("any/", any_dialect),
    path("any/", any_dialect_classic),
]

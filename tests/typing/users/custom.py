"""Classes of a project's own: WebSockets, factories, requests, sessions, receivers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, assert_type

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import path

import dwebsocket
from dwebsocket import (
    ClassicWebSocketRequest,
    PeerGone,
    WebSocketClosed,
    WebSocketRequest,
    accept_websocket,
    signals,
    websocket,
)
from dwebsocket.backends.default.factory import WebSocketFactory as DefaultFactory
from dwebsocket.backends.default.websocket import DefaultWebSocket
from dwebsocket.context import carry
from dwebsocket.contrib.chat import Guests, Permissions
from dwebsocket.factory import WebSocketFactory
from dwebsocket.session import Refused, Session
from dwebsocket.websocket import WebSocket


class Named(WebSocket):
    nickname = ""

    def greet(self) -> bool:
        return self.send_json({"hello": self.nickname})


class Old(DefaultWebSocket[bytes]):
    def lines(self) -> list[bytes]:
        return (self.wait() or b"").splitlines()


class Factory(WebSocketFactory):
    websocket_class = Named

    def is_websocket(self) -> bool:
        return super().is_websocket() and self.request.path != "/"


class OldFactory(DefaultFactory):
    websocket_class = Old


class Wrong(WebSocketFactory):
    # error: mypy=assignment pyright=reportAssignmentType
    websocket_class = dict


@websocket
def named(request: WebSocketRequest[Named]) -> None:
    request.websocket.nickname = "Ann"
    assert_type(request.websocket.greet(), bool)
    assert_type(request.websocket.wait(), str | bytes | None)
    for message in request.websocket:
        assert_type(message, str | bytes)


@accept_websocket
def old(request: WebSocketRequest[Old]) -> None:
    assert_type(request.websocket.lines(), list[bytes])
    assert_type(request.websocket.wait(), bytes | None)
    for message in request.websocket:
        assert_type(message, bytes | None)


class UserRequest(WebSocketRequest):
    """A request behind login_required."""

    user: User  # pyright: ignore[reportIncompatibleVariableOverride]


class OldUserRequest(ClassicWebSocketRequest):
    user: User  # pyright: ignore[reportIncompatibleVariableOverride]


class TenantRequest(HttpRequest):
    """A request of a project that does not know of WebSockets."""

    tenant: str


class TenantWebSocketRequest(TenantRequest, WebSocketRequest):
    pass


@websocket
def of_user(request: UserRequest, pk: int) -> None:
    request.websocket.send(request.user.username)


@accept_websocket
def of_old_user(request: OldUserRequest) -> None:
    assert_type(request.websocket.wait(), bytes | None)
    request.websocket.send(request.user.username)


@websocket
def of_tenant(request: TenantWebSocketRequest) -> None:
    request.websocket.send(request.tenant)


@websocket
def without(request: TenantRequest) -> None:
    assert_type(request.tenant, str)


# The decorator as a module's attribute, and the module as a module.
@dwebsocket.websocket(max_message_size=1)
def by_module(request: dwebsocket.WebSocketRequest) -> None:
    assert isinstance(request.websocket, dwebsocket.websocket.WebSocket)


@dwebsocket.accept_websocket
def by_module_classic(request: dwebsocket.ClassicWebSocketRequest) -> None: ...


# error: mypy=attr-defined pyright=reportAttributeAccessIssue
print(dwebsocket.WebsocketRequest)

urlpatterns = [
    path("named/", named),
    path("old/", old),
    path("user/<int:pk>/", of_user),
    path("old-user/", of_old_user),
    path("tenant/", of_tenant),
    path("without/", without),
    path("module/", by_module),
    path("classic/", by_module_classic),
]


class Chat(Session):
    rate = 10.0
    burst = 20

    def __init__(self, websocket: WebSocket, request: HttpRequest) -> None:
        super().__init__(websocket, request)

    def may_join(self, group: str) -> bool:
        return group.startswith("chat.") and self.request.user.is_authenticated

    def on_publish(self, group: str, data: Any) -> Any:
        if not data:
            raise Refused("empty", "say something")
        self.websocket.send("sent")
        return data


@websocket
def session(request: WebSocketRequest) -> None:
    Chat(request.websocket, request).run()
    # error: mypy=arg-type pyright=reportArgumentType
    Chat(request, request)


@accept_websocket
def old_session(request: ClassicWebSocketRequest) -> None:
    Session(request.websocket, request).run()


class Members(Permissions):
    def may_join(self, room: str) -> bool:
        return bool(self.user.is_authenticated)


class Visitors(Guests):
    def message(self, room: str, text: str) -> str:
        return text.strip()


def opened(websocket: WebSocket[Any], request: HttpRequest, **kwargs: Any) -> None:
    websocket.send(request.path)


def closed(sender: type[WebSocket[Any]], code: int, reason: str, **kwargs: Any) -> None:
    print(sender, code, reason)


signals.websocket_opened.connect(opened)
signals.websocket_closed.connect(closed, dispatch_uid="closed")
# error: mypy=attr-defined pyright=reportAttributeAccessIssue
print(signals.websocket_open)


@carry
def tenant(request: HttpRequest) -> Callable[[], None]:
    return lambda: print(request.path)


@carry
@contextmanager
def locale(request: HttpRequest) -> Generator[None]:
    yield


@websocket
def errors(request: WebSocketRequest) -> None:
    try:
        message = request.websocket.receive(1)
    except WebSocketClosed as error:
        assert_type(error.code, int)
        assert_type(error.reason, str)
        return
    except TimeoutError:
        return
    except PeerGone:
        raise
    assert_type(message, str | bytes)

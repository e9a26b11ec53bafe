"""Groups and pushes return what they return."""

from __future__ import annotations

from typing import Any, Literal, assert_type
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from dwebsocket import WebSocketRequest, hub, push, websocket
from dwebsocket.contrib.chat import history, people, say
from dwebsocket.contrib.push import anotify, notify
from dwebsocket.hub import Group, History, Joined, Member, Position, Published, Stats

Broker = Literal["none", "sent", "stored", "pending", "unavailable"]


@websocket
def groups(request: WebSocketRequest) -> None:
    socket = request.websocket
    joined = socket.join("room", history=10, ttl=60, info={"name": "Ann"})
    assert_type(joined, Joined)
    assert_type(joined.recovered, bool)
    assert_type(socket.groups, list[str])
    assert_type(socket.member_id, str)
    assert_type(socket.leave("room"), bool)
    socket.join("room", since=hub.group("room").position())
    # error: mypy=call-arg pyright=reportCallIssue
    socket.join("room", histroy=1)
    # error: mypy=arg-type pyright=reportArgumentType
    socket.join(7)
    group = hub.group("room")
    assert_type(group, Group)
    assert_type(group.send("x", exclude=socket), Published)
    group.send_json({"x": 1}, exclude=[socket, socket.member_id, *group.members()])
    group.send("x", exclude=group.members()[0])
    group.send(gettext_lazy("hello"))
    # error: mypy=arg-type pyright=reportArgumentType
    group.send({"x": 1})
    # error: mypy=arg-type pyright=reportArgumentType
    group.send("x", exclude=request)
    # error: mypy=arg-type pyright=reportArgumentType
    group.send("x", exclude=socket.id)
    published = hub.groups("a", "b").send("x")
    assert_type(published.broker, Broker)
    assert_type(published.local, int)
    # error: mypy=comparison-overlap pyright=reportUnnecessaryComparison
    if published.broker == "lost":
        return
    assert_type(group.members(), list[Member])
    assert_type(group.count(), int)
    assert_type(group.position(), Position)
    assert_type(group.history(5), History)
    for offset, message in group.history():
        assert_type(offset, int)
        assert_type(message, str | bytes)
    assert_type(hub.occupied("room"), dict[str, int])
    assert_type(hub.stats(), Stats)
    assert_type(hub.stats().broker, Literal["none", "connected", "away"])


@websocket
def connection(request: WebSocketRequest) -> None:
    socket = request.websocket
    assert_type(socket.id, int)
    assert_type(socket.close_code, int | None)
    assert_type(socket.close_reason, str)
    assert_type(socket.latency, float | None)
    assert_type(socket.stats, dict[str, int])
    assert_type(socket.subprotocol, str | None)
    assert_type(socket.remote_address, tuple[str, int])
    assert_type(socket.send("x", timeout=0.5, overflow="drop_oldest"), bool)
    assert_type(socket.send(b"x", binary=True), bool)
    assert_type(socket.send(gettext_lazy("hello")), bool)
    assert_type(socket.ping(b"x"), bool)
    assert_type(socket.recheck(), bool)
    socket.watch(30, allowed=lambda: True)
    socket.close(4000, "over")
    # error: mypy=arg-type pyright=reportArgumentType
    socket.send(7)
    # error: mypy=arg-type pyright=reportArgumentType
    socket.send("x", overflow="drop")
    # error: mypy=arg-type pyright=reportArgumentType
    socket.wait("1")
    # error: mypy=attr-defined pyright=reportAttributeAccessIssue
    socket.receive_text()
    # error: mypy=arg-type pyright=reportArgumentType
    socket.close("over")


def pushes(user: User, request: HttpRequest, late: bool) -> None:
    assert_type(push.to_user(user, {"unread": 3}), Published)
    assert_type(push.to_user(user.pk, "x", on_commit=False), Published)
    assert_type(push.to_user(UUID(int=1), "x", on_commit=late), Published | None)
    push.to_user(request.user, "x", on_commit=True, using="default")
    # error: mypy=call-overload pyright=reportArgumentType
    push.to_user(request, "x")
    # error: mypy=call-overload pyright=reportCallIssue
    push.to_user(user, "x", commit=True)
    assert_type(push.to_group("room", b"x"), Published)
    # error: mypy=union-attr pyright=reportOptionalMemberAccess
    print(push.to_group("room", 1, exclude="a-1", on_commit=late).local)
    # error: mypy=call-overload pyright=reportArgumentType
    push.to_group(7, "x")
    # error: mypy=call-overload pyright=reportCallIssue
    push.to_all("x", exclude=None)
    assert_type(push.to_all("x").dropped, int)
    assert_type(push.disconnect(user), Published)
    push.disconnect(user, 4001, "bye", on_commit=True)
    # error: mypy=call-overload pyright=reportArgumentType
    push.disconnect(user, "bye")
    nothing = push.to_all("x", on_commit=True)
    assert_type(nothing, None)


async def async_pushes(user: User, late: bool) -> None:
    assert_type(await push.ato_user(user, "x"), Published)
    assert_type(await push.ato_all("x", on_commit=late), Published | None)
    await push.ato_group("room", "x", on_commit=True)
    assert_type((await push.adisconnect(user, reason="bye")).local, int)
    # error: mypy=attr-defined pyright=reportAttributeAccessIssue
    print(push.ato_all("x").local)
    print((await anotify(user, {"x": 1}, on_commit=True)).pk)
    # error: mypy=call-arg pyright=reportCallIssue
    await anotify(user, {"x": 1}, expire=None)


def contrib(user: User) -> None:
    print(notify(user, {"order": 7}, on_commit=True, expires=60.0).pk)
    notify(user, {"order": 7}, expires=None)
    # error: mypy=arg-type pyright=reportArgumentType
    notify(user, {"order": 7}, expires="today")
    assert_type(say("lobby", "hello", name="site"), Published)
    assert_type(history("lobby"), list[dict[str, Any]])
    assert_type(people("lobby"), list[str])
    # error: mypy=call-arg pyright=reportCallIssue
    say("lobby", "hello")

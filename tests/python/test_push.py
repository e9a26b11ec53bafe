"""Pushes, and whom they reach."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from types import SimpleNamespace
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.models import (
    AutoField,
    BigAutoField,
    CharField,
    IntegerField,
    UUIDField,
)
from django.http import JsonResponse
from django.test import AsyncClient, Client, TestCase, override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject

from dwebsocket import WebSocketView, _engine, push, websocket
from dwebsocket.logins import rights
from dwebsocket.websocket import endpoint

USER = SimpleNamespace(pk=7, is_authenticated=True)


def _visit(websocket, **attributes):
    connection = endpoint.of(websocket).connection
    rights.identify(SimpleNamespace(path="/", **attributes), connection)


def visit_as(pair, key):
    websocket, peer = pair()
    _visit(websocket, user=SimpleNamespace(pk=key, is_authenticated=True))
    return websocket, peer


@pytest.fixture
def visitor(pair):
    return visit_as(pair, 7)


def test_a_user_is_reached_by_instance_and_by_key(visitor):
    _, peer = visitor
    assert push.to_user(USER, "one").local == 1
    assert push.to_user(7, {"day": date(2020, 2, 29)}).local == 1
    assert push.to_user("8", "not you").local == 0
    assert peer.message() == "one"
    assert json.loads(peer.message()) == {"day": "2020-02-29"}


@pytest.mark.parametrize(
    "attributes",
    [{}, {"user": None}, {"user": SimpleNamespace(pk=None, is_authenticated=False)}],
)
def test_nobody_is_nobody(pair, attributes):
    websocket, _ = pair()
    _visit(websocket, **attributes)
    sent = _engine.publish("user", ["None"], "x")
    assert sent.local == 0


def test_a_user_that_cannot_be_read_is_logged(pair, caplog):
    class Request:
        path = "/"

        @property
        def user(self):
            raise RuntimeError("no database")

    rights.identify(Request(), endpoint.of(pair()[0]).connection)
    assert "could not be read" in caplog.text


@pytest.mark.parametrize(
    "user", [SimpleNamespace(pk=None), AnonymousUser(), User(), None, ""]
)
def test_a_user_without_a_key_is_refused(user):
    with pytest.raises(ValueError, match="primary key"):
        push.to_user(user, "x")
    with pytest.raises(ValueError, match="primary key"):
        push.disconnect(user)


@pytest.mark.parametrize("user", [User, True, 1.5, b"7", {"id": 7}, [7], object()])
def test_what_is_no_user_is_refused(user):
    with pytest.raises(TypeError, match="user"):
        push.to_user(user, "x")
    with pytest.raises(TypeError, match="user"):
        push.disconnect(user)


def test_a_lazy_user_and_other_keys_are_users(pair, model):
    model(UUIDField())
    key = UUID(int=7)
    _, peer = visit_as(pair, key)
    assert push.to_user(SimpleLazyObject(lambda: SimpleNamespace(pk=key)), "x").local
    assert push.to_user(key, "y").local == 1
    assert push.to_user(str(key), "z").local == 1
    assert [peer.message() for _ in range(3)] == ["x", "y", "z"]


@pytest.fixture
def model(monkeypatch):
    """Return a function that gives this site users with such a primary key."""

    def choose(field):
        chosen = SimpleNamespace(_meta=SimpleNamespace(pk=field))
        monkeypatch.setattr(push, "get_user_model", lambda: chosen)
        return chosen

    return choose


def test_a_uuid_is_a_key_however_it_is_written(pair, model):
    key = UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    _, peer = visit_as(pair, key)
    model(UUIDField())
    for written in (str(key), str(key).upper(), key.hex, f"{{{key}}}"):
        assert push.to_user(written, written).local == 1
        assert peer.message() == written


NUMBERS = [AutoField(primary_key=True), BigAutoField(primary_key=True), IntegerField()]
NAMES = ["ana", "ana@example.com", "7.5", "None", "７a", UUID(int=7), str(UUID(int=7))]


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: type(field).__name__)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_key_where_keys_are_numbers(model, field, name):
    model(field)
    for act in (
        lambda: push.to_user(name, "x", on_commit=True),
        lambda: push.disconnect(name),
    ):
        with pytest.raises(ValueError, match=r"a number on this site: .* user\.pk"):
            act()


@pytest.mark.parametrize("name", ["ana", 7, "7", "a0eebc99"])
def test_a_name_is_no_key_where_keys_are_uuids(model, name):
    model(UUIDField())
    with pytest.raises(ValueError, match=r"a UUID on this site: .* user\.pk"):
        push.to_user(name, "x")


def test_a_key_that_is_another_models_is_looked_at_there(model):
    base = model(AutoField(primary_key=True))
    model(SimpleNamespace(remote_field=SimpleNamespace(model=base)))
    with pytest.raises(ValueError, match="a number on this site"):
        push.to_user("ana", "x")


@pytest.mark.parametrize("key", ["ana", "A0", "7", 7, UUID(int=7), " x "])
def test_keys_may_be_names(pair, model, key):
    model(CharField(primary_key=True))
    _, peer = visit_as(pair, key)
    push.to_user(key, "x")
    assert peer.message() == "x"


@pytest.mark.parametrize("written", ["7", " 7 ", "07", 7])
def test_a_number_is_a_key_however_it_is_written(visitor, written):
    _, peer = visitor
    push.to_user(written, "x")
    assert peer.message() == "x"


def test_a_site_without_users_may_have_any_key(pair, monkeypatch):
    def missing():
        raise ImproperlyConfigured("there is no app for users")

    monkeypatch.setattr(push, "get_user_model", missing)
    _, peer = visit_as(pair, "ana")
    push.to_user("ana", "x")
    assert peer.message() == "x"


def test_users_that_nobody_knows_are_warned_of_once(caplog):
    push._warn_untracked.cache_clear()
    with override_settings(DWEBSOCKET={"TRACK_USERS": False}):
        push.to_user(7, "x")
        push.disconnect(7)
    (record,) = caplog.records
    assert "TRACK_USERS" in record.message


class LazyUser(TestCase):
    """In a transaction, of which other threads see nothing."""

    async def test_is_found_by_the_thread_that_has_the_transaction(self):
        ana = await User.objects.acreate(username="ana")
        lazy = SimpleLazyObject(lambda: User.objects.get(username="ana"))
        await push.ato_user(lazy, "x")
        assert lazy.pk == ana.pk


@pytest.mark.parametrize(
    ("message", "error"),
    [(User(), TypeError), ({1}, TypeError), ({"a": float("inf")}, ValueError)],
)
def test_what_json_cannot_express_is_refused_at_once(message, error):
    for send in (
        lambda: push.to_user(7, message, on_commit=True),
        lambda: push.to_group("push.x", message, on_commit=True),
        lambda: push.to_all(message),
    ):
        with pytest.raises(error, match="JSON"):
            send()


def test_everybody_is_reached(quiet, pair):
    peers = [pair()[1] for _ in range(3)]
    assert push.to_all("news").local == 3 + quiet
    assert [peer.message() for peer in peers] == ["news"] * 3


def test_a_group_is_reached_with_what_json_can_express(pair):
    websocket, peer = pair()
    websocket.join("push.group")
    assert push.to_group("push.group", [1, 2]).local == 1
    assert push.to_group("push.group", "x", exclude=websocket).local == 0
    assert peer.message() == "[1, 2]"
    with pytest.raises(TypeError):
        push.to_group("push.group", object())


def test_a_user_is_sent_away(visitor):
    websocket, peer = visitor
    assert push.disconnect(USER, reason="logged out").local == 1
    closing = peer.closing()
    assert (closing.code, closing.reason) == (4001, "logged out")
    with pytest.raises(ValueError, match="123 bytes"):
        push.disconnect(USER, reason="x" * 124)
    with pytest.raises(ValueError, match="1006"):
        push.disconnect(USER, 1006)


@pytest.mark.parametrize("commits", [True, False])
def test_on_commit_waits_for_the_transaction(visitor, transactional_db, commits):
    websocket, peer = visitor

    class Rollback(Exception):
        pass

    try:
        with transaction.atomic():
            assert push.to_user(7, "committed", on_commit=True) is None
            push.to_user(7, "at once")
            if not commits:
                raise Rollback
    except Rollback:
        pass
    push.to_user(7, "afterwards")
    expected = ["at once", *["committed"] * commits, "afterwards"]
    assert [peer.message() for _ in expected] == expected


def test_a_failure_after_the_commit_disturbs_nobody(visitor, transactional_db, caplog):
    websocket, peer = visitor
    with transaction.atomic():
        push.to_group("bad\x00name", "x", on_commit=True)
        push.to_user(7, "still sent", on_commit=True)
    assert peer.message() == "still sent"
    assert "control characters" in caplog.text


def test_what_changes_until_the_commit_is_not_sent(visitor, transactional_db):
    websocket, peer = visitor
    message = {"paid": False}
    with transaction.atomic():
        push.to_user(7, message, on_commit=True)
        message["paid"] = True
    assert json.loads(peer.message()) == {"paid": False}


def test_the_async_twins_see_the_transaction(visitor, transactional_db):
    websocket, peer = visitor
    block = transaction.atomic()

    async def main():
        # Where Django runs what async code does with the database.
        await sync_to_async(block.__enter__)()
        assert await push.ato_user(7, "rolled back", on_commit=True) is None
        await sync_to_async(block.__exit__)(ValueError, ValueError(), None)
        await push.ato_user(7, "sent", on_commit=True)

    asyncio.run(main())
    assert peer.message() == "sent"


def test_the_async_twins_do_the_same(visitor):
    websocket, peer = visitor
    websocket.join("push.async")

    async def main():
        assert (await push.ato_group("push.async", "1")).local == 1
        assert (await push.ato_user(7, "2")).local == 1
        assert (await push.ato_all("3")).local >= 1
        assert (await push.adisconnect(7)).local == 1

    asyncio.run(main())
    assert [peer.message() for _ in range(3)] == ["1", "2", "3"]
    assert peer.closing().code == 4001


def test_a_user_of_another_tenant_with_the_same_key_is_another(pair, monkeypatch):
    tenants = ["acme"]
    monkeypatch.setattr(rights, "tenant", lambda: tenants[-1], raising=False)
    with override_settings(DWEBSOCKET={"TENANT": "dwebsocket.logins.rights.tenant"}):
        _, first = visit_as(pair, 7)
        tenants.append("bolt")
        _, second = visit_as(pair, 7)
        assert push.to_user(7, "of bolt").local == 1
        tenants.append("")
        assert push.to_user(7, "of nobody").local == 0
        tenants.append("acme")
        assert push.to_user(USER, "of acme").local == 1
        assert push.disconnect(7, 4000).local == 1
    assert first.message() == "of acme"
    assert second.message() == "of bolt"
    assert first.closing().code == 4000


def test_a_tenant_without_a_name_is_a_mistake(monkeypatch):
    monkeypatch.setattr(rights, "tenant", lambda: None, raising=False)
    with (
        override_settings(DWEBSOCKET={"TENANT": "dwebsocket.logins.rights.tenant"}),
        pytest.raises(ImproperlyConfigured, match="must return the tenant's name"),
    ):
        push.to_user(7, "x")


variable: ContextVar[str] = ContextVar("tenant", default="public")


def of_connection():
    """Return the tenant as django-tenants keeps it: each thread has its own."""
    return getattr(connection, "schema_name", "public")


def of_variable():
    return variable.get()


@contextmanager
def entered(tenant):
    before = of_connection(), of_variable()
    connection.schema_name = tenant
    variable.set(tenant)
    try:
        yield
    finally:
        connection.schema_name = before[0]
        variable.set(before[1])


class InTenant:
    """The middleware, which is synchronous."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with entered(request.GET["tenant"]):
            return self.get_response(request)


def carry_tenant(request):
    return entered(request.GET["tenant"])


def with_tenants(function):
    """Return the settings of a site whose users have tenants."""
    return {
        "MIDDLEWARE": [f"{__name__}.InTenant"],
        "DWEBSOCKET": {
            "TENANT": f"{__name__}.{function}",
            "CONTEXT_HOOKS": [f"{__name__}.carry_tenant"],
        },
    }


async def push_and_disconnect():
    sent = await push.ato_user(7, "to acme")
    later = await push.ato_user(message="as well", user=USER)
    gone = await push.adisconnect(7)
    return [sent.local, later.local, gone.local]


async def plain(request):
    return JsonResponse(await push_and_disconnect(), safe=False)


async def pushing(request):
    async for _ in request.websocket:
        await request.websocket.send(json.dumps(await push_and_disconnect()))


class Pushing(WebSocketView):
    async def on_message(self, message):
        await self.websocket.send(json.dumps(await push_and_disconnect()))


@pytest.mark.parametrize("function", ["of_connection", "of_variable"])
class TestTwinsInTenants:
    @pytest.fixture
    def users(self, pair, function):
        """Return the peers of two users with the same key, the first of acme."""
        with override_settings(**with_tenants(function)):
            with entered("acme"):
                _, first = visit_as(pair, 7)
            _, second = visit_as(pair, 7)
        return first, second

    def reached(self, users, function):
        """Check that the user of acme was reached, and nobody else."""
        first, second = users
        assert [first.message(), first.message()] == ["to acme", "as well"]
        assert first.closing().code == 4001
        with override_settings(**with_tenants(function)):
            assert push.to_user(7, "to the public").local == 1
        assert second.message() == "to the public"

    @pytest.mark.parametrize("on_asgi", [True, False])
    def test_a_plain_view_reaches_the_user_of_its_tenant(
        self, users, function, on_asgi
    ):
        urls = type("Urls", (), {"urlpatterns": [path("", plain)]})
        with override_settings(ROOT_URLCONF=urls, **with_tenants(function)):
            if on_asgi:
                response = asyncio.run(AsyncClient().get("/?tenant=acme"))
            else:
                response = Client().get("/?tenant=acme")
        assert response.json() == [1, 1, 1]
        self.reached(users, function)

    @pytest.mark.parametrize("view", [websocket(pushing), Pushing.as_view()])
    def test_a_websocket_reaches_the_user_of_its_tenant(
        self, users, site, function, view
    ):
        running = site({"": view}, **with_tenants(function))
        with running.connect("?tenant=acme") as page:
            page.send("go")
            assert json.loads(page.recv(10)) == [1, 1, 1]
        running.stop()
        self.reached(users, function)

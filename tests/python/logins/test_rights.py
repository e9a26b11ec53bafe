"""Rights that are taken away while a connection is open."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY, logout, update_session_auth_hash
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.sessions.backends import db as db_sessions
from django.core.cache import caches
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connections
from django.http import HttpResponse
from django.test import Client, override_settings
from websockets.exceptions import ConnectionClosed

from dwebsocket import websocket
from dwebsocket.logins.rights import COME_AGAIN, LOGGED_OUT, Rights, renew, trouble
from dwebsocket.logins.watching import watcher
from dwebsocket.session import Session
from dwebsocket.websocket import endpoint

pytestmark = pytest.mark.usefixtures("tables")

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]
COOKIE = django_settings.SESSION_COOKIE_NAME


@pytest.fixture
def user(tables):
    return User.objects.create_user("ada", password="analytical")


@pytest.fixture
def engine(request, tmp_path):
    """Have sessions kept by an engine; tests may say another than the database."""
    name = getattr(request, "param", "db")
    with override_settings(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{name}",
        SESSION_FILE_PATH=str(tmp_path),
    ):
        yield name
        caches["default"].clear()


@pytest.fixture
def site(engine, site):
    """Return the shared fixture; its settings end before those of the engine."""
    return site


@pytest.fixture
def browser(user, engine):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def calm():
    """Begin and end without watched connections, so that tests do not mix."""
    deadline = time.monotonic() + 10
    while watcher.is_busy() and time.monotonic() < deadline:
        time.sleep(0.01)
    trouble._logged = 0.0
    yield
    trouble._logged = 0.0


def cookies(client):
    return {"Cookie": f"{COOKIE}={client.cookies[COOKIE].value}"}


def out(request):
    logout(request)
    return HttpResponse()


def silent(**options):
    """Return a view that only waits, and what it met at the end."""

    @websocket(**options)
    def view(request):
        request.websocket.send("ready")
        view.ends.put(request.websocket.wait())

    view.ends = queue.Queue()
    return view


@contextmanager
def page(running, client=None, route="ws"):
    headers = cookies(client) if client else {}
    with running.connect(route, additional_headers=headers) as connection:
        assert connection.recv(10)
        yield connection


def end_of(connection):
    """Return the code with which the server ends a connection that says nothing."""
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            connection.recv(10)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006
    raise AssertionError("the connection is still open")


def stays(connection, seconds=1.0):
    with pytest.raises(TimeoutError):
        connection.recv(seconds)


def drop_session(client):
    engine = __import__(django_settings.SESSION_ENGINE, fromlist=["SessionStore"])
    engine.SessionStore(client.cookies[COOKIE].value).delete()


TAKEN = {
    "logged out elsewhere": lambda user, client: drop_session(client),
    "deactivated": lambda user, client: User.objects.update(is_active=False),
    "deleted": lambda user, client: User.objects.all()._raw_delete("default"),
    "password": lambda user, client: (user.set_password("x"), user.save()),
}


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(
    ("engine", "what"),
    # Where the cookie is the session, nothing can be deleted.
    [
        (engine, what)
        for engine in ENGINES
        for what in TAKEN
        if (engine, what) != ("signed_cookies", "logged out elsewhere")
    ],
    indirect=["engine"],
)
def test_a_connection_that_says_nothing_is_ended(site, user, browser, engine, what):
    view = silent(recheck_interval=0.2)
    running = site({"ws": view})
    with page(running, browser) as connection, page(running) as guest:
        TAKEN[what](user, browser)
        assert end_of(connection) == LOGGED_OUT
        assert view.ends.get(timeout=10) is None
        stays(guest, 0.3)


@pytest.mark.usefixtures("calm")
def test_who_may_stay_stays(site, browser):
    with page(site({"ws": silent(recheck_interval=0.1)}), browser) as connection:
        stays(connection, 1.5)


@pytest.mark.usefixtures("calm", "user")
def test_a_view_that_only_sends_is_ended(site, browser):
    ended = threading.Event()

    @websocket(recheck_interval=0.2)
    def view(request):
        while not request.websocket.is_closed():
            request.websocket.send("tick")
            time.sleep(0.01)
        ended.set()

    with page(site({"ws": view}), browser) as connection:
        drop_session(browser)
        assert end_of(connection) == LOGGED_OUT
    assert ended.wait(10)


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("engine", ENGINES[:-1], indirect=True)
def test_a_logout_ends_the_connections_of_its_session_at_once(site, user, browser):
    other = Client()
    other.force_login(user)
    running = site({"ws": silent(recheck_interval=600), "out": out})
    with page(running, browser) as connection, page(running, other) as elsewhere:
        response, _ = running.request("out", **cookies(browser))
        assert response.status == 200
        assert end_of(connection) == LOGGED_OUT
        stays(elsewhere, 0.3)


@pytest.mark.usefixtures("calm")
def test_a_logout_is_heard_of_by_who_was_unknown_at_first(
    site, user, browser, monkeypatch
):
    real_load, real_check = db_sessions.SessionStore.load, Rights.check
    passed = threading.Event()

    def away(self):
        raise OperationalError("the database is away")

    def check(self):
        real_check(self)
        passed.set()

    for name in ("FIRST", "AGAIN"):
        monkeypatch.setattr(f"dwebsocket.logins.watching.{name}", 0.1)
    monkeypatch.setattr(Rights, "check", check)
    monkeypatch.setattr(db_sessions.SessionStore, "load", away)
    running = site({"ws": silent(recheck_interval=600), "out": out})
    with page(running, browser) as connection:
        stays(connection, 0.3)
        monkeypatch.setattr(db_sessions.SessionStore, "load", real_load)
        assert passed.wait(10)
        # The next check comes in ten minutes.
        running.request("out", **cookies(browser))
        assert end_of(connection) == LOGGED_OUT


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("engine", ["signed_cookies"], indirect=True)
def test_a_logout_without_a_store_has_other_browsers_come_again(
    site, user, browser, monkeypatch
):
    running = site({"ws": silent(recheck_interval=600), "out": out})
    other = Client()
    with monkeypatch.context() as later:
        # Signed in the same second, two cookies are one.
        now = time.time()
        later.setattr(time, "time", lambda: now + 60)
        other.force_login(user)
    with page(running, browser) as connection, page(running, other) as elsewhere:
        running.request("out", **cookies(browser))
        assert end_of(connection) == LOGGED_OUT
        assert end_of(elsewhere) == COME_AGAIN


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("how", ["save", "delete"])
def test_a_deactivation_ends_the_connections_at_once(site, user, browser, how):
    with page(site({"ws": silent(recheck_interval=600)}), browser) as connection:
        if how == "save":
            user.is_active = False
            user.save()
        else:
            user.delete()
        assert end_of(connection) == LOGGED_OUT


here = threading.local()


def current():
    return here.tenant


def carry(request):
    tenant = here.tenant
    return lambda: setattr(here, "tenant", tenant)


class Tenants:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        here.tenant = request.GET.get("tenant", "")
        try:
            return self.get_response(request)
        finally:
            del here.tenant


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("how", ["save", "delete"])
def test_the_users_of_other_tenants_may_stay(site, user, browser, how):
    name = Tenants.__module__
    running = site(
        {"ws": silent(recheck_interval=600)},
        MIDDLEWARE=[f"{name}.Tenants", *django_settings.MIDDLEWARE],
        DWEBSOCKET={"TENANT": f"{name}.current", "CONTEXT_HOOKS": [f"{name}.carry"]},
    )
    with (
        page(running, browser, "ws?tenant=acme") as acme,
        page(running, browser, "ws?tenant=bolt") as bolt,
    ):
        here.tenant = "acme"
        try:
            if how == "save":
                user.is_active = False
                user.save()
            else:
                user.delete()
        finally:
            del here.tenant
        assert end_of(acme) == LOGGED_OUT
        stays(bolt, 0.5)
        # Where no tenant can be told, a save is a save all the same.
        if how == "save":
            user.save()
            assert trouble._logged


@pytest.mark.usefixtures("calm")
def test_a_view_that_has_not_asked_for_it_is_left_alone(site, user, browser):
    with page(site({"ws": silent()}), browser) as connection:
        user.is_active = False
        user.save()
        drop_session(browser)
        stays(connection, 0.5)


@pytest.mark.usefixtures("calm")
def test_who_changes_the_own_password_comes_again(site, user, browser):
    def change(request):
        request.user.set_password("engine")
        request.user.save()
        # The watcher looks in between, when no session goes with the password.
        deadline = time.monotonic() + 10
        while not all(w.found.doubted for w in watches()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        update_session_auth_hash(request, request.user)
        return HttpResponse()

    def watches():
        return tuple(watcher._watches.values())

    running = site({"ws": silent(recheck_interval=0.2), "change": change})
    other = Client()
    other.force_login(user)
    with page(running, browser) as connection, page(running, other) as elsewhere:
        response, _ = running.request("change", **cookies(browser))
        assert response.status == 200
        assert end_of(connection) == COME_AGAIN
        # Another browser has the old password's session, which is good for nothing.
        assert end_of(elsewhere) == LOGGED_OUT


@pytest.mark.usefixtures("calm", "user")
def test_a_new_secret_key_ends_nothing_and_cycles_no_session(site, browser):
    before = browser.cookies[COOKIE].value
    with page(site({"ws": silent(recheck_interval=0.1)}), browser) as connection:
        old = django_settings.SECRET_KEY
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[old]):
            stays(connection, 1.5)
            assert db_sessions.SessionStore(before).load().get(SESSION_KEY)


@pytest.mark.usefixtures("calm")
def test_a_database_that_is_away_ends_nothing_and_is_logged_once(
    site, user, browser, monkeypatch, caplog
):
    real = db_sessions.SessionStore.load
    tried = threading.Semaphore(0)

    def away(self):
        tried.release()
        raise OperationalError("the database is away")

    monkeypatch.setattr("dwebsocket.logins.watching.AGAIN", 0.1)
    with page(site({"ws": silent(recheck_interval=0.2)}), browser) as connection:
        monkeypatch.setattr(db_sessions.SessionStore, "load", away)
        for _ in range(3):
            assert tried.acquire(timeout=10)
        stays(connection, 0.1)
        monkeypatch.setattr(db_sessions.SessionStore, "load", real)
        User.objects.update(is_active=False)
        assert end_of(connection) == LOGGED_OUT
    lines = [line for line in caplog.records if "could not be checked" in line.message]
    assert len(lines) == 1


@pytest.mark.usefixtures("calm", "user")
@pytest.mark.parametrize("engine", ["cache"], indirect=True)
def test_a_cache_that_is_away_is_not_one_that_is_empty(
    site, browser, monkeypatch, caplog
):
    monkeypatch.setattr("dwebsocket.logins.watching.AGAIN", 0.1)
    with page(site({"ws": silent(recheck_interval=0.2)}), browser) as connection:
        kind = type(caches["default"])
        with monkeypatch.context() as meanwhile:
            # As pymemcache with ignore_exc.
            meanwhile.setattr(kind, "get", lambda *args, **kwargs: None)
            stays(connection, 1.5)
        assert "keeps nothing" in caplog.text
        caches["default"].clear()
        assert end_of(connection) == LOGGED_OUT


@pytest.mark.usefixtures("calm", "user")
@pytest.mark.parametrize("engine", ["file"], indirect=True)
def test_a_directory_that_is_away_is_not_one_that_is_empty(
    site, browser, monkeypatch, tmp_path
):
    monkeypatch.setattr("dwebsocket.logins.watching.AGAIN", 0.1)
    away = tmp_path.with_name("away")
    with page(site({"ws": silent(recheck_interval=0.2)}), browser) as connection:
        tmp_path.rename(away)
        stays(connection, 1.5)
        away.rename(tmp_path)
        drop_session(browser)
        assert end_of(connection) == LOGGED_OUT


@pytest.mark.usefixtures("calm")
def test_the_watcher_gives_its_database_back_and_ends(site, browser, monkeypatch):
    closed = threading.Event()
    real = type(connections).close_all

    def close_all(self):
        if threading.current_thread().name == "websocket-watcher":
            closed.set()
        real(self)

    monkeypatch.setattr(type(connections), "close_all", close_all)
    with page(site({"ws": silent(recheck_interval=0.2)}), browser):
        assert closed.wait(10)
        thread = watcher._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()


def tokens(kind):
    """Return middleware that knows users by something else than a session."""

    def middleware(get_response):
        def respond(request):
            request.user = kind()
            return get_response(request)

        return respond

    return middleware


@pytest.fixture
def by_token(monkeypatch, user):
    """Return the settings of a site whose middleware says who the user is."""

    def settings(kind=lambda: User.objects.get()):
        monkeypatch.setattr(f"{__name__}.middleware", tokens(kind), raising=False)
        return {"MIDDLEWARE": [f"{__name__}.middleware"]}

    return settings


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("what", ["deactivated", "deleted", "password"])
def test_users_without_a_session_are_checked(site, user, by_token, what):
    running = site({"ws": silent(recheck_interval=0.2)}, **by_token())
    with page(running) as connection:
        TAKEN[what](user, None)
        assert end_of(connection) == LOGGED_OUT


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(
    "kind",
    [
        AnonymousUser,
        lambda: None,
        lambda: SimpleNamespace(pk=7, is_authenticated=True),
        lambda: SimpleNamespace(is_authenticated=True),
        lambda: User.objects.create(username=f"{time.monotonic_ns()}", is_active=False),
    ],
)
def test_nothing_can_be_taken_from_whom_nothing_was_given(site, by_token, kind):
    running = site({"ws": silent(recheck_interval=0.1)}, **by_token(kind))
    with page(running) as connection:
        stays(connection, 1.0)


@pytest.mark.usefixtures("calm")
def test_a_site_without_users_has_nothing_to_check(site):
    with page(site({"ws": silent(recheck_interval=0.1)}, MIDDLEWARE=[])) as connection:
        stays(connection, 1.0)


@pytest.mark.usefixtures("calm", "user")
@pytest.mark.parametrize("no", [False, PermissionDenied])
def test_the_application_may_ask_beside_that(site, no):
    allowed = [True]

    def ask():
        if allowed[0] is PermissionDenied:
            raise PermissionDenied
        return allowed[0]

    @websocket
    def view(request):
        request.websocket.watch(0.1, ask)
        request.websocket.send("ready")
        request.websocket.wait()

    with page(site({"ws": view})) as connection:
        stays(connection, 0.8)
        allowed.clear()
        allowed.append(no)
        assert end_of(connection) == LOGGED_OUT


def test_an_interval_is_a_number_of_seconds(site):
    errors: queue.Queue = queue.Queue()

    @websocket
    def view(request):
        for wrong in (0, -1, float("nan"), True, None, "30"):
            try:
                request.websocket.watch(wrong)
            except ValueError:
                errors.put(wrong)
        try:
            request.websocket.watch(30, allowed=True)
        except TypeError:
            errors.put("allowed")
        view.websocket = request.websocket
        request.websocket.send("ready")

    with page(site({"ws": view})) as connection:
        assert end_of(connection) == 1000
    assert errors.qsize() == 7
    deadline = time.monotonic() + 10
    while (
        endpoint.of(view.websocket).rights is not None and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    with pytest.raises(RuntimeError):
        view.websocket.watch(30)
    assert not view.websocket.recheck()


def test_recheck_reads_the_user_anew(site, user, browser):
    @websocket
    def view(request):
        request.user.has_perm("auth.change_user")
        for _ in request.websocket:
            again = request.websocket.recheck()
            allowed = again and request.user.has_perm("auth.change_user")
            request.websocket.send_json([again, allowed])

    def ask(connection):
        connection.send("?")
        return json.loads(connection.recv(10))

    headers = cookies(browser)
    with site({"ws": view}).connect("ws", additional_headers=headers) as connection:
        assert ask(connection) == [True, False]
        permission = Permission.objects.get(codename="change_user")
        user.user_permissions.add(permission)
        assert ask(connection) == [True, True]
        user.user_permissions.clear()
        assert ask(connection) == [True, False]
        drop_session(browser)
        connection.send("?")
        assert end_of(connection) == LOGGED_OUT


def test_what_middleware_has_noted_on_the_user_stays():
    old, new = User(pk=1, username="a"), User(pk=1, username="b")
    old.otp_device = "phone"
    old._perm_cache = {"everything"}
    request = SimpleNamespace(user=old)
    renew(request, new)
    assert request.user is new
    assert (new.username, new.otp_device) == ("b", "phone")
    assert not hasattr(new, "_perm_cache")
    renew(request, SimpleNamespace(pk=1))
    assert request.user is new


class Readers(Session):
    recheck = 0.2

    def may_join(self, group):
        user = self.request.user
        return user.is_authenticated and user.has_perm("auth.change_user")


@websocket
def readers(request):
    Readers(request.websocket, request).run()


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("says", [False, True])
def test_a_session_asks_again_who_may_be_in_a_group(site, user, browser, says):
    user.user_permissions.add(Permission.objects.get(codename="change_user"))
    settings = {"USER_MAX_AGE": 0.0}
    with page(site({"ws": readers}, DWEBSOCKET=settings), browser) as connection:

        def hear(kind):
            while (frame := json.loads(connection.recv(10)))["type"] != kind:
                pass
            return frame

        connection.send(json.dumps({"type": "join", "id": 1, "group": "news"}))
        assert hear("joined")
        publish = json.dumps({"type": "publish", "id": 2, "group": "news", "data": 1})
        connection.send(publish)
        assert hear("ack")
        user.user_permissions.clear()
        if says:
            connection.send(publish)
        assert hear("removed") == {"type": "removed", "group": "news"}
        connection.send(publish)
        assert hear("error")["code"] == "forbidden"


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("what", TAKEN)
def test_a_session_takes_no_message_of_who_may_not_stay(site, user, browser, what):
    settings = {"USER_MAX_AGE": 0.0, "RECHECK_INTERVAL": 600}
    heard = []

    class Taking(Session):
        def on_data(self, data):
            heard.append(data)
            self.send_data(data)

    @websocket
    def view(request):
        Taking(request.websocket, request).run()

    with page(site({"ws": view}, DWEBSOCKET=settings), browser) as connection:
        connection.send('{"type":"data","data":1}')
        assert json.loads(connection.recv(10))["data"] == 1
        TAKEN[what](user, browser)
        connection.send('{"type":"data","data":2}')
        assert end_of(connection) == LOGGED_OUT
    assert heard == [1]


@pytest.mark.usefixtures("calm", "user")
def test_sessions_are_left_alone_where_the_project_says_so(site, browser):
    settings = {"USER_MAX_AGE": 0.0, "RECHECK_INTERVAL": 0}
    with page(site({"ws": readers}, DWEBSOCKET=settings), browser) as connection:
        drop_session(browser)
        connection.send('{"type":"ping"}')
        assert json.loads(connection.recv(10)) == {"type": "pong"}
        stays(connection, 0.8)

from __future__ import annotations

import contextlib
import queue
import threading
import zoneinfo
from contextvars import ContextVar
from typing import Any

import pytest
from django.test import RequestFactory, override_settings
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dwebsocket import ConfigurationError, context, runners, signals, websocket
from dwebsocket.context import RequestContext
from dwebsocket.websocket import endpoint

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def restore():
    yield
    translation.deactivate()
    timezone.deactivate()
    set_urlconf(None)
    set_script_prefix("/")


def in_thread(function):
    """Call a function in another thread, in the context of this one."""
    result = []
    context = RequestContext()
    thread = threading.Thread(
        target=lambda: result.append(context.run(lambda: function()))
    )
    thread.start()
    thread.join()
    return result[0]


def test_context_variables_hold():
    token = variable.set("set")
    assert in_thread(variable.get) == "set"
    variable.reset(token)


@pytest.mark.parametrize("language", ["de", "en-us", "zh-hans"])
def test_the_language_holds(language):
    translation.activate(language)
    assert in_thread(translation.get_language) == language


@pytest.mark.parametrize("outlives", [False, True])
def test_a_thread_that_has_run_a_view_has_forgotten_the_language(outlives, monkeypatch):
    if not outlives and context._OUTLIVES:
        pytest.skip("this asgiref keeps the state in the thread")
    monkeypatch.setattr(context, "_OUTLIVES", outlives)
    translation.activate("de")
    request_context = RequestContext()
    found = []

    def run():
        request_context.run(lambda: found.append(translation.get_language()))
        found.append(translation.get_language())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert found == ["de", "en-us"]


def test_no_language_holds():
    translation.deactivate_all()
    assert in_thread(translation.get_language) is None


# Django decides once in a process whether it translates; not while a test overrides it.
translation.get_language()


@override_settings(USE_I18N=False)
def test_a_project_without_translations_has_its_language():
    assert in_thread(translation.get_language) == "en-us"


def test_the_time_zone_holds():
    zone = zoneinfo.ZoneInfo("Asia/Shanghai")
    timezone.activate(zone)
    assert in_thread(timezone.get_current_timezone) is zone
    timezone.deactivate()
    assert in_thread(timezone.get_current_timezone) is timezone.get_default_timezone()


def test_urlconf_and_script_prefix_hold():
    assert in_thread(get_urlconf) is None
    assert in_thread(get_script_prefix) == "/"
    set_urlconf("other.urls")
    set_script_prefix("/prefix/")
    assert in_thread(get_urlconf) == "other.urls"
    assert in_thread(get_script_prefix) == "/prefix/"


def test_what_the_thread_does_stays_there():
    translation.activate("de")
    in_thread(lambda: translation.activate("fr"))
    assert translation.get_language() == "de"


def test_what_the_request_does_later_stays_there():
    """A server's thread goes on with requests of others, in their languages."""
    translation.activate("de")
    request_context = RequestContext()
    translation.activate("fr")
    assert request_context.variables.run(translation.get_language) == "de"
    request_context.variables.run(translation.activate, "es")
    assert translation.get_language() == "fr"


local = threading.local()


def tenant(request):
    """Carry a thread-local over, with a context manager."""
    name = local.tenant

    @contextlib.contextmanager
    def apply():
        local.tenant = name
        seen.append(("enter", threading.current_thread().name))
        try:
            yield
        finally:
            seen.append(("exit", request.websocket.close_code is not None))

    return apply()


def user(request):
    """Carry one over with a function."""
    name = local.user
    return lambda: setattr(local, "user", name)


def nothing(request):
    return None


def wrong(request):
    return "a string"


def failing(request):
    def apply():
        raise ValueError("the hook fails")

    return apply


seen: list[Any] = []


class SetsLocals:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        local.tenant, local.user = request.GET["tenant"], "ana"
        try:
            return self.get_response(request)
        finally:
            del local.tenant, local.user


@websocket
def tell(request):
    values = [getattr(local, name, None) for name in ("tenant", "user")]
    request.websocket.send_json(values)


HERE = "tests.python.test_context"


class TestHooks:
    def ask(self, site, *hooks, view=tell):
        seen.clear()
        running = site(
            {"": view},
            MIDDLEWARE=[f"{HERE}.SetsLocals"],
            DWEBSOCKET={"CONTEXT_HOOKS": [f"{HERE}.{hook}" for hook in hooks]},
        )
        with running.connect("?tenant=acme") as connection:
            return list(connection)

    def test_thread_locals_are_absent_without(self, site):
        assert self.ask(site) == ["[null, null]"]

    def test_they_are_carried_over(self, site):
        assert self.ask(site, "tenant", "nothing", "user") == ['["acme", "ana"]']
        assert runners.join(10)
        [(enter, thread), (leave, _)] = seen
        assert (enter, leave) == ("enter", "exit")
        assert thread.startswith("websocket-")

    def test_they_may_be_registered(self, site, monkeypatch):
        monkeypatch.setattr(context, "_hooks", [])
        assert context.carry(user) is user
        context.carry(user)
        assert context._hooks == [user]
        assert self.ask(site) == ['[null, "ana"]']

    def test_signals_have_them_too(self, site):
        got = []

        def opened(**kwargs):
            got.append(local.user)

        signals.websocket_opened.connect(opened)
        try:
            self.ask(site, "user")
        finally:
            signals.websocket_opened.disconnect(opened)
        assert got == ["ana"]

    def test_one_that_fails_in_the_views_thread_closes_with_1011(self, site, caplog):
        with pytest.raises(ConnectionClosed, match="1011"):
            self.ask(site, "failing")
        assert runners.join(10)
        assert caplog.text.count("Traceback") == 1
        assert "could not be served" in caplog.text

    def test_one_that_fails_in_the_requests_thread_is_a_500(self, site):
        def broken(request):
            raise ValueError

        context.carry(broken)
        try:
            with pytest.raises(InvalidStatus) as caught:
                self.ask(site)
        finally:
            context._hooks.remove(broken)
        assert caught.value.response.status_code == 500

    def test_one_that_returns_something_else_is_an_error(self):
        with (
            override_settings(DWEBSOCKET={"CONTEXT_HOOKS": [f"{HERE}.wrong"]}),
            pytest.raises(ConfigurationError, match="wrong"),
        ):
            context.carried(RequestFactory().get("/"))

    def test_the_checks_of_logins_have_them(self, site):
        asked: queue.Queue[Any] = queue.Queue()

        @websocket(recheck_interval=0.1)
        def view(request):
            endpoint.of(request.websocket).rights.allowed = lambda: (
                not asked.put((threading.current_thread().name, local.tenant))
            )
            request.websocket.wait()

        seen.clear()
        running = site(
            {"": view},
            MIDDLEWARE=[f"{HERE}.SetsLocals"],
            DWEBSOCKET={"CONTEXT_HOOKS": [f"{HERE}.tenant"]},
        )
        with running.connect("?tenant=acme"), running.connect("?tenant=bolt"):
            names = {asked.get(timeout=10) for _ in range(8)}
        assert names == {("websocket-watcher", "acme"), ("websocket-watcher", "bolt")}

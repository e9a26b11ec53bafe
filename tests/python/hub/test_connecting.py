"""How a process finds the others; tests/servers talks to a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from django.test import override_settings

from dwebsocket import ConfigurationError, _engine, hub
from dwebsocket.hub import connecting


@pytest.fixture
def fresh(monkeypatch):
    """Forget that this process has been through it."""
    monkeypatch.setattr(connecting, "_connected_in", None)
    monkeypatch.setattr(connecting, "_looked", False)
    monkeypatch.setattr(connecting, "_several", False)
    monkeypatch.setattr(connecting, "_serving", True)
    monkeypatch.setattr(connecting, "_told", False)
    monkeypatch.setattr(connecting, "workers", lambda: 1)


def test_it_connects_once(fresh, monkeypatch):
    asked = []
    monkeypatch.setattr(_engine, "hub_configure", lambda **given: asked.append(given))
    settings = {"BROKER_PREFIX": "mine", "BROKER_TIMEOUT": 1}
    with override_settings(DWEBSOCKET=settings):
        for _ in range(3):
            connecting.connect()
    assert asked == [{"broker": None, "prefix": "mine", "timeout": 1.0}]


def test_a_forked_child_connects_anew(fresh, monkeypatch):
    asked = []
    monkeypatch.setattr(_engine, "hub_configure", lambda **given: asked.append(given))
    connecting.connect()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    connecting.connect()
    assert len(asked) == 2


def test_a_bad_url_names_the_setting_and_is_met_again(fresh):
    with override_settings(DWEBSOCKET={"BROKER": "gopher://localhost"}):
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"DWEBSOCKET\['BROKER'\]"):
                hub.group("broker.a").send("x")


@pytest.mark.parametrize("said", ["by the server", "by its arguments"])
def test_several_workers_are_warned_of_once_and_when_groups_are_used(
    fresh, monkeypatch, caplog, said
):
    if said == "by the server":
        connecting.note_server(True)
    else:
        monkeypatch.setattr(connecting, "workers", lambda: 2)
    connecting.connect()
    assert caplog.text == ""
    for _ in range(2):
        hub.group("broker.several").send("x")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "DWEBSOCKET['BROKER']" in record.message


def test_one_worker_is_not_warned_of(fresh, caplog):
    hub.group("broker.one").send("x")
    assert caplog.text == ""


NOBODY = """
import logging, os
from django.conf import settings
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls", LOGGING_CONFIG=None)
import django
django.setup()
import io, sys, types
from django.http import HttpResponse
from django.urls import path
urls = sys.modules["urls"] = types.ModuleType("urls")
urls.urlpatterns = [path("", lambda request: HttpResponse())]
from dwebsocket import hub, push
from dwebsocket.hub.connecting import note_server
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, RequestFactory
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
"""


def _said(script):
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", NOBODY + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=20,
        env=env,
        check=True,
    )
    return done.stderr


@pytest.mark.parametrize(
    "use",
    [
        "push.to_all('x')",
        "push.to_user(7, 'x')",
        "push.to_group('a', 'x')",
        "push.disconnect(7)",
        "hub.group('a').send('x')",
        "hub.group('a', history=5).send_json({})",
        "hub.group('a').close()",
        "hub.group('a').members()",
        "hub.group('a').count()",
        "hub.group('a').history()",
        "hub.occupied('')",
        # Django's own client makes no server of a process.
        "Client().get('/'); push.to_all('x')",
    ],
)
def test_who_reaches_nobody_is_told_so_once(use):
    (line,) = _said(f"for _ in range(3):\n    {use}").splitlines()
    assert line.startswith("dwebsocket.hub WARNING No broker is set, and no connection")
    assert "DWEBSOCKET['BROKER']" in line


def test_a_forked_child_is_told_for_itself():
    said = _said(
        """
        push.to_all("x")
        if not os.fork():
            push.to_all("x")
            os._exit(0)
        os.wait()
        """
    )
    assert said.count("No broker is set") == 2


@pytest.mark.parametrize(
    "serves",
    [
        # A server's process has answered a request.
        "WSGIHandler()(RequestFactory().get('/').environ, lambda *given: None)",
        "note_server(False)",
    ],
)
def test_a_server_without_visitors_is_not_warned(serves):
    assert _said(f"{serves}\npush.to_all('x')") == ""


def test_a_process_without_connections_ends_in_time():
    script = textwrap.dedent(
        """
        from django.conf import settings
        settings.configure(DWEBSOCKET={
            "BROKER": "redis://127.0.0.1:1/0",
            "BROKER_TIMEOUT": 0.1,
            "SHUTDOWN_TIMEOUT": 0.5,
            "GROUPS": {"kept": {"history": 5}},
        })
        from dwebsocket import push
        from dwebsocket.process import exit
        print(push.to_group("kept", "x").broker)
        print(push.to_group("other", "x").broker)
        assert exit.arm.is_done()
        """
    )
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # What the engine has to say comes out, too.
    assert "the broker is away" in done.stderr
    assert done.stdout.split() == ["pending", "unavailable"]

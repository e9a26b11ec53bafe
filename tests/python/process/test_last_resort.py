from __future__ import annotations

import io
import logging
import os
import subprocess
import sys

import pytest
from django import VERSION
from django.core import mail
from django.utils.log import AdminEmailHandler

from dwebsocket.process import last_resort

#: Older versions of Django want pairs, newer ones addresses.
ADMIN = "ada@example.com" if VERSION >= (6,) else ("Ada", "ada@example.com")


@pytest.fixture
def logger(monkeypatch):
    """Return a logger, its parent whose handler takes nothing, and what is shown."""
    shown = io.StringIO()
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(shown))
    # Unknown to logging's manager, and so to pytest.
    parent = logging.Logger("site")
    nothing = logging.NullHandler()
    nothing.setLevel(logging.CRITICAL)
    parent.addHandler(nothing)
    child = logging.Logger("site.security")
    child.parent = parent
    last_resort.attach(child)
    return child, parent, shown


def test_what_nobody_takes_is_shown(logger):
    child, _, shown = logger
    child.warning("look here")
    assert shown.getvalue() == "look here\n"


@pytest.mark.parametrize("place", [0, 1])
def test_what_somebody_takes_is_not_shown_again(logger, place):
    *loggers, shown = logger
    taken = io.StringIO()
    loggers[place].addHandler(logging.StreamHandler(taken))
    logger[0].warning("look here")
    assert taken.getvalue() == "look here\n"
    assert shown.getvalue() == ""


def test_what_a_filter_keeps_back_is_shown(logger):
    child, parent, shown = logger
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(lambda record: False)
    parent.addHandler(handler)
    child.warning("look here")
    assert shown.getvalue() == "look here\n"


@pytest.mark.parametrize(("admins", "shown_too"), [([], True), ([ADMIN], False)])
def test_mails_to_no_admins_take_nothing(logger, settings, admins, shown_too):
    child, parent, shown = logger
    parent.addHandler(AdminEmailHandler())
    settings.ADMINS = admins
    child.error("look here")
    assert (shown.getvalue() == "look here\n") is shown_too
    assert len(mail.outbox) == len(admins)


def test_a_project_may_mail_to_others(logger, settings):
    class Pager(AdminEmailHandler):
        def send_mail(self, subject, message, *args, **kwargs):
            sent.append(subject)

    sent: list[str] = []
    child, parent, shown = logger
    parent.addHandler(Pager())
    settings.ADMINS = []
    child.error("look here")
    assert (sent, shown.getvalue()) == (["ERROR: look here"], "")


def errors_of(script: str) -> str:
    """Run a project of its own in another process; return its standard error."""
    environ = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


_PRODUCTION = """
import django
from django.conf import settings
settings.configure(DEBUG={debug}, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
django.setup()
from django.test import RequestFactory
from dwebsocket import websocket

@websocket
def view(request):
    pass

handshake = dict(
    HTTP_CONNECTION="Upgrade",
    HTTP_UPGRADE="websocket",
    HTTP_SEC_WEBSOCKET_KEY="dGhlIHNhbXBsZSBub25jZQ==",
    HTTP_SEC_WEBSOCKET_VERSION="13",
    HTTP_ORIGIN="https://evil.example",
)
assert view(RequestFactory().get("/", **handshake)).status_code == 403
"""


@pytest.mark.parametrize("debug", [True, False])
def test_a_refused_origin_is_seen_once_with_djangos_own_logging(debug):
    shown = errors_of(_PRODUCTION.format(debug=debug))
    assert shown.count("https://evil.example may not open") == 1


_MISTAKES = """
import django, sys
from django.conf import settings
settings.configure(
    DEBUG={debug},
    SECRET_KEY="x",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF="__main__",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DWEBSOCKET={{"PING_INTERVALL": 5}},
)
django.setup()
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from dwebsocket import websocket

def forgotten(request):
    return HttpResponse(request.websocket)

urlpatterns = [path("forgotten/", forgotten), path("misspelt/", websocket(forgotten))]

def get(url, host="testserver", **more):
    client = Client(raise_request_exception=False)
    return client.get(url, HTTP_HOST=host, HTTP_ORIGIN="http://" + host, **more)

handshake = dict(
    HTTP_CONNECTION="Upgrade",
    HTTP_UPGRADE="websocket",
    HTTP_SEC_WEBSOCKET_KEY="dGhlIHNhbXBsZSBub25jZQ==",
    HTTP_SEC_WEBSOCKET_VERSION="13",
)
assert get("/forgotten/", **handshake).status_code == 500
assert get("/misspelt/", **handshake).status_code == 500
assert get("/forgotten/", "wrong.example", **handshake).status_code == 400
print("no handshake:", file=sys.stderr)
assert get("/forgotten/").status_code == 500
assert get("/forgotten/", "wrong.example").status_code == 400
"""


@pytest.mark.parametrize("debug", [True, False])
def test_a_mistake_is_seen_once_with_djangos_own_logging(debug):
    shown = errors_of(_MISTAKES.format(debug=debug))
    seen, others = shown.split("no handshake:\n")
    lines = seen.splitlines()
    for begin in (
        "Internal Server Error: /forgotten/",
        "Internal Server Error: /misspelt/",
        "dwebsocket.exceptions.ConfigurationError: DWEBSOCKET has no setting",
        "Invalid HTTP_HOST header: 'wrong.example'",
    ):
        assert sum(line.startswith(begin) for line in lines) == 1, seen
    assert bool(others) is debug


def test_only_the_records_that_are_meant_are_shown(logger):
    child, _, shown = logger
    child.handlers.clear()
    last_resort.attach(child, lambda record: "here" in record.getMessage())
    child.warning("look away")
    child.warning("look here")
    assert shown.getvalue() == "look here\n"

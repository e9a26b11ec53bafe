"""Whose connection it is, on a site with sessions."""

from __future__ import annotations

import queue
import threading

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from dwebsocket import push, websocket
from dwebsocket.process import databases

pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture
def user(tables):
    """Return a user."""
    return User.objects.create_user("ada")


@pytest.fixture
def cookie(user):
    """Return the cookie of the user's session."""
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


@pytest.fixture
def queries(monkeypatch):
    """Return the threads that have queried since, kept up to date."""
    threads = set()
    kind = type(connections["default"])
    real = kind.cursor

    def cursor(self, *args, **kwargs):
        threads.add(threading.current_thread())
        return real(self, *args, **kwargs)

    monkeypatch.setattr(kind, "cursor", cursor)
    return threads


@pytest.fixture
def view():
    """Return a view that says what state it is in."""
    states: queue.Queue = queue.Queue()

    @websocket
    def view(request):
        states.put((threading.current_thread(), databases.in_use.get()))
        request.websocket.wait()

    view.states = states
    return view


def test_a_user_is_found_before_the_view_begins(site, view, user, cookie, queries):
    headers = {"Cookie": cookie}
    with site({"ws": view}).connect("/ws", additional_headers=headers) as client:
        thread, in_use = view.states.get(timeout=10)
        assert thread in queries
        assert push.to_user(user, "hello").local == 1
        assert client.recv(10) == "hello"
    # So that wait() lets go what the query has opened.
    assert in_use is True


@pytest.mark.parametrize("headers", [{}, {"Cookie": "other=1"}])
def test_a_visitor_without_a_session_costs_no_query(site, view, queries, headers):
    with site({"ws": view}).connect("/ws", additional_headers=headers):
        thread, in_use = view.states.get(timeout=10)
        assert thread not in queries
        assert in_use is False


def test_it_can_be_turned_off(site, view, user, cookie, queries):
    running = site({"ws": view}, DWEBSOCKET={"TRACK_USERS": False})
    with running.connect("/ws", additional_headers={"Cookie": cookie}):
        thread, _ = view.states.get(timeout=10)
        assert thread not in queries
        assert push.to_user(user, "hello").local == 0


def test_a_site_without_users_is_fine(site, view):
    running = site({"ws": view}, MIDDLEWARE=[])
    with running.connect("/ws"):
        assert view.states.get(timeout=10)

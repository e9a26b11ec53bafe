from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from rest_framework.request import Request

from dwebsocket.process.visitor import visitor


class User:
    pk = 3


def unread():
    raise AssertionError("a line of the log costs no query")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (User(), "user 3 at 192.0.2.7"),
        (AnonymousUser(), "a guest at 192.0.2.7"),
    ],
)
def test_the_user_is_named_if_it_was_read(user, expected):
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7")
    request.user = user
    assert visitor(request) == expected
    assert visitor(Request(request)) == expected


def test_a_user_that_was_not_read_stays_so():
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7")
    request.user = SimpleLazyObject(unread)
    assert visitor(request) == "a visitor at 192.0.2.7"


def test_a_lazy_user_that_was_read_is_named():
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7")
    request.user = SimpleLazyObject(User)
    assert request.user.pk == 3
    assert visitor(request) == "user 3 at 192.0.2.7"


def test_a_site_without_users_and_a_unix_socket():
    request = RequestFactory().get("/", REMOTE_ADDR="")
    assert visitor(request) == "a visitor at an unknown address"


def test_no_line_is_forged():
    request = RequestFactory().get("/", REMOTE_ADDR="1\n2")
    assert visitor(request) == "a visitor at 1\\n2"

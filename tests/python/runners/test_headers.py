"""Headers that a view or an application gives to the answer of its handshake."""

from __future__ import annotations

import copy
import pickle

import pytest
from django.http import HttpResponse

from dwebsocket.runners import headers
from dwebsocket.runners.headers import RawCookie

LINE = "a=1; HttpOnly; Path=/x; Partitioned; unknown=1; path"


@pytest.mark.parametrize("again", [pickle.dumps, copy.copy])
def test_a_cookie_stays_as_it_was_given(again):
    cookie = again(RawCookie(LINE))
    cookie = pickle.loads(cookie) if isinstance(cookie, bytes) else cookie
    assert cookie.OutputString() == LINE
    assert cookie.output(header="").strip() == LINE
    assert (cookie.key, cookie.value, cookie.coded_value) == ("a", "1", "1")
    assert cookie["httponly"] is True
    assert cookie["path"] == "/x"


def test_a_cookie_takes_attributes():
    cookie = RawCookie(LINE)
    cookie["samesite"] = "Lax"
    cookie["secure"] = True
    cookie["domain"] = ""
    assert cookie.OutputString() == f"{LINE}; SameSite=Lax; Secure"


def test_a_cookie_takes_another_value():
    cookie = RawCookie("a=1; Path=/x")
    cookie.set("a", "2", "2")
    for found in (cookie, copy.copy(cookie), pickle.loads(pickle.dumps(cookie))):
        assert found.OutputString() == "a=2; Path=/x"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [('j={"x":1}', "j", '{"x":1}'), ("k", "", "k"), ("path=1", "path", "1")],
)
def test_a_cookie_may_have_any_name_and_value(line, key, value):
    cookie = RawCookie(line)
    assert (cookie.OutputString(), cookie.key, cookie.value) == (line, key, value)


def test_headers_of_one_name_are_joined():
    response = HttpResponse()
    headers.add(response, [("Link", "1"), ("X", "x"), ("link", "2")])
    assert response["Link"] == "1, 2"

"""A WebSocket that was made and not opened; tests/servers open such ones."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory

from dwebsocket import HandshakeError, SocketUnavailable
from dwebsocket.factory import WebSocketFactory
from dwebsocket.websocket import unopened
from tests.python.live import HANDSHAKE


@pytest.fixture
def made():
    """Return a function that makes a WebSocket for a handshake with other headers."""

    def make(**others):
        request = RequestFactory().get("/", headers={**HANDSHAKE, **others})
        return WebSocketFactory(request).create_websocket()

    return make


def test_it_says_what_is_missing(made):
    websocket = made()
    assert not unopened.is_open(websocket)
    assert not websocket.is_closed()
    for use in (websocket.wait, lambda: websocket.send("x"), websocket.fileno):
        with pytest.raises(RuntimeError, match=r"call accept_connection\(\) first"):
            use()


def test_one_that_was_closed_is_not_opened_any_more(made):
    websocket = made()
    websocket.close()
    with pytest.raises(RuntimeError, match="closed before"):
        websocket.accept_connection()


@pytest.mark.parametrize(
    ("others", "error"),
    [
        ({"Sec-WebSocket-Key": "short"}, HandshakeError),
        ({"Origin": "https://elsewhere.example"}, PermissionDenied),
        ({}, SocketUnavailable),
    ],
)
def test_a_refusal_is_raised_as_django_answers_it(made, others, error):
    websocket = made(**others)
    with pytest.raises(error):
        websocket.accept_connection()
    assert not unopened.is_open(websocket)


def test_there_is_none_for_plain_http():
    assert WebSocketFactory(RequestFactory().get("/")).create_websocket() is None
    assert not unopened.is_open(None)

"""The finder for Django's test client."""

from __future__ import annotations

import socket

import pytest
from django.test import RequestFactory

from dwebsocket import servers
from dwebsocket.exceptions import SocketUnavailable
from dwebsocket.servers import testing


def test_the_socket_of_a_test_is_found() -> None:
    ours, theirs = socket.socketpair()
    runner = object()
    request = RequestFactory().get("/", **{testing.KEY: testing.Line(ours, runner)})
    with ours, theirs:
        assert servers.find(request.META).fd == ours.fileno()
        assert testing.runner(request.META) is runner


def test_without_it_one_line_says_what_to_use() -> None:
    request = RequestFactory().get("/")
    with pytest.raises(
        SocketUnavailable, match=r"^Django's test client[^\n]*connect\("
    ):
        servers.find(request.META)
    assert testing.runner(request.META) is None


def test_a_header_is_no_line() -> None:
    environ = RequestFactory().get("/", **{testing.KEY: "forged"}).META
    assert testing.runner(environ) is None
    assert testing.find({testing.KEY: "forged"}) is None


def test_other_requests_are_left_alone() -> None:
    assert testing.find({"wsgi.input": object()}) is None

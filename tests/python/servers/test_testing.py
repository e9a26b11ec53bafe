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
    runners = {False: object(), True: object()}
    line = testing.Line(ours, runners.get)
    request = RequestFactory().get("/", **{testing.KEY: line})
    with ours, theirs:
        assert servers.find(request.META).fd == ours.fileno()
        for asynchronous, runner in runners.items():
            assert testing.runner(request.META, asynchronous) is runner


def test_without_it_one_line_says_what_to_use() -> None:
    request = RequestFactory().get("/")
    with pytest.raises(
        SocketUnavailable, match=r"^Django's test client[^\n]*connect\("
    ):
        servers.find(request.META)
    assert testing.runner(request.META, False) is None


def test_a_header_is_no_line() -> None:
    environ = RequestFactory().get("/", **{testing.KEY: "forged"}).META
    assert testing.runner(environ, False) is None
    assert testing.find({testing.KEY: "forged"}) is None


def test_other_requests_are_left_alone() -> None:
    assert testing.find({"wsgi.input": object()}) is None

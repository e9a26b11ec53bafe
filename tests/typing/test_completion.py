"""jedi, and so many editors, complete the attributes of a view's request."""

from __future__ import annotations

import jedi
import pytest

METHODS = {"wait", "send", "send_json", "receive", "join", "close", "is_closed"}


def completions(source: str) -> set[str]:
    lines = source.splitlines()
    found = jedi.Script(source).complete(len(lines), len(lines[-1]))
    return {one.name for one in found}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "annotation",
    [
        "WebSocketRequest",
        "ClassicWebSocketRequest",
        "WebSocketRequest[WebSocket[bytes]]",
        "WebSocketRequest[WebSocket | None]",
    ],
)
@pytest.mark.parametrize(
    "decorator", ["websocket", "accept_websocket(overflow='close')"]
)
def test_the_websocket_of_a_request(annotation, decorator):
    source = f"""\
from dwebsocket import *
from dwebsocket.websocket import WebSocket

@{decorator}
def view(request: {annotation}, room: str):
    request.websocket."""
    assert completions(source) >= METHODS


@pytest.mark.timeout(120)
def test_the_request_itself():
    source = """\
from dwebsocket import WebSocketRequest

def view(request: WebSocketRequest):
    request."""
    assert completions(source) >= {"websocket", "is_websocket", "GET", "path"}


@pytest.mark.timeout(120)
def test_the_settings_of_a_class():
    source = """\
from dwebsocket import WebSocketView

class Chat(WebSocketView):
    def on_open(self):
        self."""
    expected = {"max_message_size", "accept_timeout", "websocket", "request"}
    assert completions(source) >= expected


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from dwebsocket import ", {"WebSocketRequest", "websocket", "push"}),
        ("from dwebsocket import push\npush.to_", {"to_user", "to_group", "to_all"}),
        ("from dwebsocket import hub\nhub.group('x').", {"send", "members"}),
        ("from dwebsocket import push\npush.to_all('x').", {"local", "broker"}),
    ],
)
def test_modules_and_results(source, expected):
    assert completions(source) >= expected

"""dwebsocket.request: types for annotations, also at run time."""

from __future__ import annotations

import subprocess
import sys
import typing

import pytest
from django.http import HttpRequest

import dwebsocket
from dwebsocket import ClassicWebSocketRequest, ViewOptions, WebSocketRequest
from dwebsocket.backends.default.websocket import DefaultWebSocket
from dwebsocket.websocket import WebSocket


def test_annotations_can_be_evaluated():
    # As a project without "from __future__ import annotations" does.
    def view(
        request: WebSocketRequest,
        classic: ClassicWebSocketRequest,
        either: WebSocketRequest[WebSocket],
        none: WebSocketRequest[typing.Optional[WebSocket[bytes]]],  # noqa: UP045
        **options: ViewOptions,
    ) -> None: ...

    globs = {**globals(), "typing": typing}
    assert typing.get_type_hints(view, globs)["request"] is WebSocketRequest


def test_the_classes_can_be_extended():
    class Named(WebSocket):
        nickname = ""

    class Old(DefaultWebSocket[bytes]):
        pass

    class Request(WebSocketRequest[Named]):
        pass

    class OldRequest(ClassicWebSocketRequest):
        pass

    assert issubclass(Old, WebSocket)
    assert issubclass(Request, HttpRequest)
    assert issubclass(OldRequest, WebSocketRequest)


def test_the_types_are_imported_when_they_are_asked_for():
    program = """
import sys, dwebsocket
late = {"dwebsocket.request", "dwebsocket.conf.view_options"}
assert not late & set(sys.modules)
from dwebsocket import *
assert late <= set(sys.modules)
# Only type checkers need these.
assert not {"dwebsocket.decorating", "dwebsocket.pushing"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'WebsocketRequest'"):
        _ = dwebsocket.WebsocketRequest
    with pytest.raises(ImportError):
        from dwebsocket import WebsocketRequest  # noqa: F401


def test_the_types_are_listed():
    assert {"WebSocketRequest", "ClassicWebSocketRequest", "ViewOptions"} <= set(
        dwebsocket.__all__
    )

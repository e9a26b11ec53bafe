"""Views of the modern dialect, and of what is new."""

from __future__ import annotations

import os
from typing import Any

from django.http import HttpRequest, HttpResponse

from dwebsocket import accept_websocket, hub, require_websocket, websocket
from dwebsocket.exceptions import WebSocketClosed
from dwebsocket.session import Session

from . import script
from .report import Report


@websocket
def echo(request: Any) -> HttpResponse | None:
    """Send back what comes, in the tutorial's form."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    while True:
        message = request.websocket.wait()
        if message is None:
            break
        request.websocket.send(message)
    return None


@websocket
def scripted(request: HttpRequest) -> None:
    """Make the calls that the test has chosen."""
    script.run(request)


@accept_websocket(dialect="modern")
def accept_modern(request: HttpRequest) -> None:
    """Speak the modern dialect by an argument."""
    script.run(request)


@require_websocket(dialect="modern")
def require_modern(request: HttpRequest) -> None:
    """Speak the modern dialect by an argument."""
    script.run(request)


@websocket(dialect="classic")
def websocket_classic(request: HttpRequest) -> None:
    """Speak the classic dialect by an argument."""
    script.run(request)


@websocket()
def called(request: HttpRequest) -> None:
    """Come from a decorator with empty parentheses."""
    script.run(request)


@websocket(max_message_size=2 * 1024 * 1024)
def large(request: Any) -> None:
    """Echo messages of more than the default limit."""
    for message in request.websocket:
        request.websocket.send(message)


@websocket(subprotocols=["v2.chat", "v1.chat"])
def listed(request: Any) -> None:
    """Choose the subprotocol from a list."""
    request.websocket.send_json({"subprotocol": request.websocket.subprotocol})


def _newest(request: HttpRequest, offered: list[str]) -> str | None:
    return max(offered, default=None)


@websocket(subprotocols=_newest)
def chosen(request: Any) -> None:
    """Choose the subprotocol by a function."""
    request.websocket.send_json({"subprotocol": request.websocket.subprotocol})


@websocket
def json_echo(request: Any) -> None:
    """Talk JSON until the peer goes."""
    ws = request.websocket
    try:
        while True:
            ws.send_json({"got": ws.receive_json()})
    except WebSocketClosed as closed:
        Report(request)("closed", [closed.code, closed.reason])


@websocket
def about(request: Any) -> None:
    """Report what the websocket knows of itself."""
    ws = request.websocket
    report = Report(request)
    report("id", ws.id)
    report("remote", list(ws.remote_address))
    report("open", [ws.close_code, ws.subprotocol])
    ws.ping(b"hello")
    ws.wait()
    report("latency", ws.latency)
    while ws.wait() is not None:
        pass
    report("close", [ws.close_code, ws.close_reason])


class Open(Session):
    """Lets everybody into every group."""

    def may_join(self, group: str) -> bool:
        """Say yes."""
        return True

    def info(self, group: str) -> Any:
        """Say which process it is."""
        return {"pid": os.getpid()}

    def on_data(self, data: Any) -> None:
        """Send to everybody else in a group, or tell where one stands."""
        if "position" in data:
            self.send_data(hub.group(data["position"]).position()._asdict())
            return
        exclude = data.get("exclude", self.websocket)
        hub.group(data["group"]).send_json(data["data"], exclude=exclude)


@websocket
def session(request: HttpRequest) -> None:
    """Speak the client protocol."""
    Open(request.websocket, request).run()

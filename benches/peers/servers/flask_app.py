"""Flask-Sock under gunicorn gthread: messages to /publish go to all on /member.

Every connection occupies a thread of gunicorn's, and has one that reads its socket.
Keepalive: off, the default.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

members: set[Server] = set()

app = Flask(__name__)
sock = Sock(app)


def without_compression(
    application: Callable[..., Iterable[bytes]],
) -> Callable[..., Iterable[bytes]]:
    """Hide the client's offer of compression; no option of Flask-Sock declines it."""

    def hidden(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        return application(environ, start_response)

    return hidden


app.wsgi_app = without_compression(app.wsgi_app)


@app.get("/hello")
def hello() -> str:
    """Answer plain HTTP."""
    return "hello"


def until_closed(
    view: Callable[[Server], None],
) -> Callable[[Server], None]:
    """Let the view return only when the Close frame is answered.

    simple-websocket wakes the view first, and gunicorn would close the socket.
    """

    @functools.wraps(view)
    def waiting(ws: Server) -> None:
        try:
            view(ws)
        finally:
            ws.thread.join(5)

    return waiting


@sock.route("/echo")
@until_closed
def echo(ws: Server) -> None:
    """Send every message back."""
    while True:
        ws.send(ws.receive())


@sock.route("/member")
@until_closed
def member(ws: Server) -> None:
    """Listen to the group."""
    members.add(ws)
    try:
        while True:
            ws.receive()
    finally:
        members.discard(ws)


@sock.route("/publish")
@until_closed
def publish(ws: Server) -> None:
    """Send every message to all members."""
    while True:
        message = ws.receive()
        for to in tuple(members):
            to.send(message)

"""In what views run, as the monitor shows it."""

from __future__ import annotations

import pytest

from dwebsocket import monitor, websocket
from dwebsocket.factory import WebSocketFactory

HERE = "tests.python.monitor.test_places"


def opens(get_response):
    """Open WebSockets to /own in the request's own thread."""

    def answer(request):
        if request.path == "/own":
            WebSocketFactory(request).create_websocket().accept_connection()
        return get_response(request)

    return answer


@websocket
def thread(request):
    request.websocket.send("begun")
    request.websocket.wait()


@websocket
async def task(request):
    await request.websocket.send("begun")
    await request.websocket.wait()


@websocket(accept="manual")
def decides(request):
    request.websocket.accept()
    request.websocket.send("begun")
    request.websocket.wait()


@pytest.mark.parametrize(
    ("path", "view"),
    [("thread", "thread"), ("task", "task"), ("own", "request"), ("decides", "thread")],
)
def test_a_view_has_its_place(site, path, view):
    views = {"thread": thread, "task": task, "own": thread, "decides": decides}
    running = site(views, MIDDLEWARE=[f"{HERE}.opens"])
    with running.connect(path) as peer:
        assert peer.recv() == "begun"
        rows = monitor.connections(search=f"/{path}").rows
        assert [(row.view, row.transport) for row in rows] == [(view, "socket")]

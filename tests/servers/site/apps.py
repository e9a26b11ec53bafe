"""ASGI applications without a framework, as views."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async
from django.db import connection
from django.urls import path

from dwebsocket.asgi import as_view

from .report import Report

#: What was heard of the life of the process.
_life: list[str] = []


def _query() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 42")
        return int(cursor.fetchone()[0])


async def _accept(scope: Any, send: Any) -> bool:
    """Answer the handshake as the query says; return whether that was to accept."""
    query = parse_qs(scope["query_string"].decode())
    how = query.get("how", ["accept"])[0]
    if how == "close":
        await send({"type": "websocket.close", "reason": "not today"})
    elif how == "response":
        headers = [
            (b"content-type", b"text/x-tea"),
            (b"x-tea", b"green"),
            (b"set-cookie", b"cup=full; Path=/; HttpOnly"),
        ]
        start = {"type": "websocket.http.response.start", "status": 418}
        await send({**start, "headers": headers})
        body = {"type": "websocket.http.response.body"}
        await send({**body, "body": b"short ", "more_body": True})
        await send({**body, "body": b"and stout"})
    elif how == "raise":
        raise RuntimeError("the application's own mistake")
    elif how == "query":
        assert await sync_to_async(_query)() == 42
        await send({"type": "websocket.accept"})
    elif how == "never":
        await asyncio.sleep(3600)
    else:
        accept = {"type": "websocket.accept", "headers": [(b"x-from", b"the app")]}
        offered = scope["subprotocols"]
        await send({**accept, "subprotocol": offered[-1] if offered else None})
    return how in ("accept", "query")


def _shown(scope: Any) -> dict[str, Any]:
    names = ("type", "path", "root_path", "scheme", "http_version", "subprotocols")
    found = {name: scope[name] for name in names}
    found["raw_path"] = scope["raw_path"].decode()
    found["query"] = scope["query_string"].decode()
    found["headers"] = {
        name.decode(): value.decode() for name, value in scope["headers"]
    }
    found["kwargs"] = scope["url_route"]["kwargs"]
    found["client"] = scope["client"] is None or type(scope["client"][1]).__name__
    found["user"] = str(scope["user"])
    found["life"] = [*_life, scope["state"].get("pool")]
    found["thread"] = threading.current_thread().name
    return found


async def _do(scope: Any, send: Any, order: dict[str, Any]) -> None:
    """Do what a message says."""
    websocket = scope["extensions"]["dwebsocket"]["websocket"]
    what = order["do"]
    answer: Any = None
    if what == "scope":
        answer = _shown(scope)
    elif what == "query":
        answer = await sync_to_async(_query)()
    elif what == "join":
        await websocket.join(order["group"])
    elif what == "flood":
        for number in range(order["count"]):
            await send({"type": "websocket.send", "text": f"{number:100000}"})
        return
    elif what == "close":
        await send({"type": "websocket.close", **order["with"]})
        return
    elif what == "raise":
        raise RuntimeError("the application's own mistake")
    await send({"type": "websocket.send", "text": json.dumps(answer)})


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """Do what the query and the messages say; tell the test of the end."""
    if scope["type"] == "lifespan":
        await _live(scope, receive, send)
        return
    assert await receive() == {"type": "websocket.connect"}
    report = Report(scope["extensions"]["dwebsocket"]["request"])
    try:
        if scope["query_string"] == b"how=return":
            return
        if b"how=never" in scope["query_string"]:
            report("deciding")
        if await _accept(scope, send):
            report("accepted")
        if await _converse(scope, receive, send, report):
            await _outstay(scope, send, report)
    except asyncio.CancelledError:
        report("cancelled")
        raise


async def _converse(scope: Any, receive: Any, send: Any, report: Report) -> bool:
    """Do what the messages say; return whether the client has gone."""
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            report("disconnected", [event["code"], event["reason"]])
            return True
        text = event.get("text")
        if text is None or not text.startswith("{"):
            await send({**event, "type": "websocket.send"})
            continue
        order = json.loads(text)
        if order["do"] == "return":
            return False
        await _do(scope, send, order)


async def _outstay(scope: Any, send: Any, report: Report) -> None:
    """Send to a client that has gone; stay if the query says so."""
    try:
        await send({"type": "websocket.send", "text": "too late"})
    except OSError as error:
        report("late", type(error).__name__)
    if parse_qs(scope["query_string"].decode()).get("stay"):
        await asyncio.sleep(3600)


async def _live(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    _life.append("startup")
    scope["state"]["pool"] = "a pool"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("ERROR: the application was told of the end", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def failing(scope: Any, receive: Any, send: Any) -> None:
    """Fail at the beginning."""
    assert scope["type"] == "lifespan"
    await receive()
    message = "no database here"
    await send({"type": "lifespan.startup.failed", "message": message})


urlpatterns = [
    path("apps/talk", as_view(talk, accept_timeout=2.0, end_timeout=0.5)),
    path("apps/grüße/<int:number>/", as_view(talk)),
    path("apps/mounted/<path:rest>", as_view(talk, mount="rest")),
    path("apps/wrong/<int:rest>", as_view(talk, mount="rest")),
    path("apps/small", as_view(talk, max_message_size=100)),
    path("apps/strict", as_view(talk, allowed_origins=["https://good.example"])),
    path("apps/cancelled", as_view(talk, cancel_on_disconnect=True, end_timeout=600)),
    path("apps/failing", as_view(failing)),
]

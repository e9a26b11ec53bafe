"""Raw ASGI, without a framework, for uvicorn, granian and gunicorn.

Messages to /publish go to all connections to /member.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

members: set[Send] = set()


async def application(scope: Event, receive: Receive, send: Send) -> None:
    """Serve one connection, or the life of the server."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
    else:
        await receive()
        await send({"type": "websocket.accept"})
        await {"/member": member, "/publish": publish}.get(scope["path"], echo)(
            receive, send
        )


async def lifespan(receive: Receive, send: Send) -> None:
    """Agree to start and to end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def reply(event: Event) -> Event:
    """Return the event that sends a received message."""
    if event.get("text") is not None:
        return {"type": "websocket.send", "text": event["text"]}
    return {"type": "websocket.send", "bytes": event["bytes"]}


async def echo(receive: Receive, send: Send) -> None:
    """Send every message back."""
    while (event := await receive())["type"] == "websocket.receive":
        await send(reply(event))


async def member(receive: Receive, send: Send) -> None:
    """Listen to the group."""
    members.add(send)
    try:
        while (await receive())["type"] == "websocket.receive":
            pass
    finally:
        members.discard(send)


async def publish(receive: Receive, send: Send) -> None:
    """Send every message to all members."""
    while (event := await receive())["type"] == "websocket.receive":
        message = reply(event)
        for to in tuple(members):
            await to(message)

"""An ASGI server without a network, for one scope."""

from __future__ import annotations

import asyncio
from typing import Any


class Server:
    """Calls an application with a scope, and lets a test say what the peer does.

    Args:
        application: The application.
        path: The path of the scope.
        scope: More of the scope.
    """

    def __init__(self, application: Any, path: str = "/", **scope: Any) -> None:
        self.scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 4711),
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            **scope,
        }
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        #: Cleared: ``send`` waits, as that of a server whose peer reads nothing.
        self.writable = asyncio.Event()
        self.writable.set()
        #: Set once ``send`` has waited for that.
        self.is_stuck = asyncio.Event()
        #: Raised by ``send`` once it is set.
        self.broken: Exception | None = None
        self.task = asyncio.get_running_loop().create_task(
            application(self.scope, self.incoming.get, self._send)
        )
        if self.scope["type"] == "websocket":
            self.say("websocket.connect")

    async def _send(self, event: dict[str, Any]) -> None:
        if not self.writable.is_set():
            self.is_stuck.set()
            await self.writable.wait()
        if self.broken is not None:
            raise self.broken
        self.outgoing.put_nowait(event)

    def say(self, kind: str, **event: Any) -> None:
        """Have the application receive an event."""
        self.incoming.put_nowait({"type": kind, **event})

    def text(self, text: str) -> None:
        """Have the peer send a text message."""
        self.say("websocket.receive", text=text)

    async def hear(self) -> dict[str, Any]:
        """Return the next event of the application."""
        return await asyncio.wait_for(self.outgoing.get(), 20)

    async def opened(self) -> dict[str, Any]:
        """Return the event that accepts the handshake."""
        event = await self.hear()
        assert event["type"] == "websocket.accept", event
        return event

    async def refused(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Return the status, the headers and the body of a refusal."""
        event = await self.hear()
        assert event["type"] == "websocket.http.response.start", event
        status, headers, body = event["status"], dict(event["headers"]), b""
        while True:
            event = await self.hear()
            assert event["type"] == "websocket.http.response.body"
            body += event["body"]
            if not event["more_body"]:
                await self.ended()
                return status, headers, body

    async def ended(self) -> None:
        """Wait until the application has returned."""
        await asyncio.wait_for(self.task, 20)

"""``websockets``: messages to /publish go to all connections to /member.

Usage: ``websockets_server.py PORT``. Keepalive: every 20 seconds, the default.
"""

from __future__ import annotations

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

members: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Serve one connection: an echo, a member or a publisher."""
    path = connection.request.path if connection.request else ""
    if path == "/member":
        members.add(connection)
        try:
            await connection.wait_closed()
        finally:
            members.discard(connection)
    elif path == "/publish":
        async for message in connection:
            broadcast(members, message)
    else:
        async for message in connection:
            await connection.send(message)


def hello(connection: ServerConnection, request: Request) -> Response | None:
    """Answer plain HTTP."""
    return connection.respond(200, "hello") if request.path == "/hello" else None


async def main() -> None:
    """Serve for ever."""
    async with serve(
        handle,
        "127.0.0.1",
        int(sys.argv[1]),
        process_request=hello,
        compression=None,
        backlog=4096,
    ) as server:
        await server.serve_forever()


uvloop.run(main())

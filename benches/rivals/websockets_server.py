"""``websockets``: messages to /publish go to all connections to /member.

Usage: ``websockets_server.py PORT``.
"""

from __future__ import annotations

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Serve one connection, a member or a publisher."""
    if connection.request is not None and connection.request.path == "/publish":
        async for message in connection:
            broadcast(members, message)
        return
    members.add(connection)
    try:
        await connection.wait_closed()
    finally:
        members.discard(connection)


async def main() -> None:
    """Serve for ever."""
    async with serve(
        handle, "127.0.0.1", int(sys.argv[1]), compression=None, backlog=4096
    ) as server:
        await server.serve_forever()


uvloop.run(main())

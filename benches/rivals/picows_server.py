"""picows: messages to /publish go to all connections to /member.

Usage: ``picows_server.py PORT``.
"""

from __future__ import annotations

import sys

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

# The space that picows needs before a message, for the frame header.
SPACE = bytes(14)

members: set[WSTransport] = set()


class Member(WSListener):
    """A connection that listens."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Add the connection to the members."""
        members.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer the Close frame."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Remove the connection from the members."""
        members.discard(transport)


class Publisher(Member):
    """A connection that publishes."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Do nothing: a publisher is no member."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a message to all, from one buffer."""
        if frame.msg_type != WSMsgType.TEXT:
            super().on_ws_frame(transport, frame)
            return
        buffer = bytearray(SPACE + frame.get_payload_as_bytes())
        for member in members:
            member.send_reuse_external_bytearray(WSMsgType.TEXT, buffer, len(SPACE))


def listener(request: WSUpgradeRequest) -> WSListener:
    """Choose the listener of a connection."""
    return Publisher() if request.path == b"/publish" else Member()


async def main() -> None:
    """Serve for ever."""
    server = await ws_create_server(
        listener, "127.0.0.1", int(sys.argv[1]), enable_auto_ping=True, backlog=4096
    )
    await server.serve_forever()


uvloop.run(main())

"""picows: messages to /publish go to all connections to /member.

Usage: ``picows_server.py PORT``. Keepalive: after 20 seconds without a frame.
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


DATA = (WSMsgType.TEXT, WSMsgType.BINARY)


class Echo(WSListener):
    """A connection that gets its messages back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a message back, from the buffer that it was read into."""
        if frame.msg_type in DATA:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


class Member(Echo):
    """A connection that listens."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Add the connection to the members."""
        members.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer the Close frame only."""
        if frame.msg_type not in DATA:
            super().on_ws_frame(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Remove the connection from the members."""
        members.discard(transport)


class Publisher(Echo):
    """A connection that publishes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a message to all, from one buffer."""
        if frame.msg_type not in DATA:
            super().on_ws_frame(transport, frame)
            return
        buffer = bytearray(SPACE + frame.get_payload_as_bytes())
        for member in members:
            member.send_reuse_external_bytearray(frame.msg_type, buffer, len(SPACE))


LISTENERS: dict[bytes, type[WSListener]] = {b"/member": Member, b"/publish": Publisher}


def listener(request: WSUpgradeRequest) -> WSListener:
    """Choose the listener of a connection."""
    return LISTENERS.get(request.path, Echo)()


async def main() -> None:
    """Serve for ever."""
    server = await ws_create_server(
        listener, "127.0.0.1", int(sys.argv[1]), enable_auto_ping=True, backlog=4096
    )
    await server.serve_forever()


uvloop.run(main())

"""socketify (uWebSockets): messages to /publish go to all connections to /member.

Usage: ``socketify_server.py PORT``. Keepalive: pings, so that a client which is silent
for two minutes stays. The limits are wide enough for the largest messages; the defaults
are 16 KiB for a message and 64 KiB on its way.
"""

from __future__ import annotations

import sys
from typing import Any

from socketify import App, AppListenOptions, CompressOptions, OpCode

TOPIC = "room"

app = App()


def echo(ws: Any, message: Any, opcode: OpCode) -> None:
    """Send a message back."""
    ws.send(message, opcode)


def join(ws: Any) -> None:
    """Make a connection a member."""
    ws.subscribe(TOPIC)


def publish(ws: Any, message: Any, opcode: OpCode) -> None:
    """Send a message to all members."""
    app.publish(TOPIC, message, opcode)


OPTIONS = {
    "compression": CompressOptions.DISABLED,
    "idle_timeout": 120,
    "send_pings_automatically": True,
    "max_payload_length": 16 * 1024 * 1024,
    "max_backpressure": 16 * 1024 * 1024,
}

app.get("/hello", lambda response, request: response.end("hello"))
app.ws("/echo", {"message": echo, **OPTIONS})
app.ws("/member", {"open": join, **OPTIONS})
app.ws("/publish", {"message": publish, **OPTIONS})
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"))
app.run()

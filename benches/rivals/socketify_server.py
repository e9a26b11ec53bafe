"""socketify (uWebSockets): messages to /publish go to all connections to /member.

Usage: ``socketify_server.py PORT``.
"""

from __future__ import annotations

import sys
from typing import Any

from socketify import App, AppListenOptions, OpCode

TOPIC = "room"

app = App()


def join(ws: Any) -> None:
    """Make a connection a member."""
    ws.subscribe(TOPIC)


def publish(ws: Any, message: Any, opcode: OpCode) -> None:
    """Send a message to all members."""
    app.publish(TOPIC, message, opcode)


app.ws("/member", {"open": join, "idle_timeout": 120, "send_pings_automatically": True})
app.ws("/publish", {"message": publish, "idle_timeout": 120})
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"))
app.run()

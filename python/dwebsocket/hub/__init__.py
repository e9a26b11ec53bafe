"""Groups of WebSockets: send to all members at once, in all processes of the site.

    from dwebsocket import hub, websocket

    @websocket
    def chat(request, room):
        request.websocket.join(f"chat.{room}")
        for message in request.websocket:
            hub.group(f"chat.{room}").send(message)

A group exists as long as somebody is in it. Its members get every message in the same
order; a member that reads too slowly meets the setting ``OVERFLOW`` and delays nobody.
With ``history``, a group remembers its latest messages, and who comes back gets what it
missed.
"""

from __future__ import annotations

from dwebsocket._engine import BrokerError, Joined, Published
from dwebsocket.conf.group_options import Options

from .connecting import connect
from .handles import (
    Group,
    History,
    Member,
    Position,
    Stats,
    disconnect,
    group,
    groups,
    occupied,
    options,
    stats,
)
from .handles import (
    merged as merged,
)
from .messages import Payload, check_reason, ids, payload, to_json

__all__ = (
    "BrokerError",
    "Group",
    "History",
    "Joined",
    "Member",
    "Options",
    "Payload",
    "Position",
    "Published",
    "Stats",
    "check_reason",
    "connect",
    "disconnect",
    "group",
    "groups",
    "ids",
    "occupied",
    "options",
    "payload",
    "stats",
    "to_json",
)

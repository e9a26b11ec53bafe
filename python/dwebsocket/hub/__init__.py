"""Groups of WebSockets: send to all members at once, in all processes of the site.

    from dwebsocket import hub, websocket

    @websocket
    def chat(request, room):
        request.websocket.join(f"chat.{room}")
        for message in request.websocket:
            hub.group(f"chat.{room}").send(message)

A group exists as long as it has members, a history, or messages that wait. All members
get the messages in the same order. The setting ``OVERFLOW`` decides about a member that
reads too slowly; such a member does not delay the others. With ``history``, a group
keeps its latest messages, and a client that comes back gets the messages that it
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

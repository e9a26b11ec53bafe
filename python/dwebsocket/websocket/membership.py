"""A WebSocket's memberships of groups."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

from dwebsocket import hub
from dwebsocket._engine import Joined
from dwebsocket.conf import arguments
from dwebsocket.exceptions import WebSocketClosed
from dwebsocket.hub import blocking, connecting

from .endpoint import Endpoint

__all__ = ("HEARTBEAT", "answer", "join", "leave", "note", "question", "welcome")

#: The version of the protocol of dwebsocket.js; the subprotocol's name has it, too.
_VERSION = 1
#: Seconds of silence after which dwebsocket.js asks whether the server is there.
HEARTBEAT = 25.0


def question(
    endpoint: Endpoint,
    group: str,
    *,
    since: tuple[int, str] | None,
    history: int | None,
    ttl: float | None,
    presence: bool | None,
    info: Any,
    envelope: bool,
    was: Iterable[str],
    reply: Any,
) -> Callable[[], Joined | None]:
    """Return the call of the engine that makes the connection a member of a group.

    Arguments and exceptions are those of
    :meth:`~dwebsocket.websocket.WebSocket.join`. The call may wait for the broker; its
    result is for :func:`answer`.
    """
    connecting.use()
    chosen = hub.merged(group, history, ttl, presence)
    return functools.partial(
        endpoint.connection.join,
        group,
        since=arguments.position(since),
        history=chosen.history,
        ttl=float(chosen.ttl),
        presence=chosen.presence,
        # Without escapes, the JSON cannot carry half of a surrogate pair to other
        # members.
        info=hub.to_json({} if info is None else info, ensure_ascii=False),
        envelope=bool(envelope),
        was=arguments.member_ids(was),
        reply=None if reply is None else json.dumps(reply),
    )


def join(endpoint: Endpoint, group: str, **options: Any) -> Joined:
    """Make the connection a member of a group; see :func:`question`."""
    return answer(endpoint, blocking.call(question(endpoint, group, **options)))


def answer(endpoint: Endpoint, joined: Joined | None) -> Joined:
    """Return what the engine has answered.

    Raises:
        WebSocketClosed: The connection has ended.
    """
    connection = endpoint.connection
    if joined is None:
        raise WebSocketClosed(connection.close_code or 1006, connection.close_reason)
    return joined


def note(endpoint: Endpoint, group: str) -> bool:
    """Remember that a group was joined; return whether that is new."""
    if endpoint.groups is None:
        endpoint.groups = set()
    new = group not in endpoint.groups
    endpoint.groups.add(group)
    return new


def welcome(endpoint: Endpoint, ping: float = HEARTBEAT) -> dict[str, Any]:
    """Have messages of groups in JSON; return the first frame for dwebsocket.js.

    docs/client.md describes the frame.

    Args:
        endpoint: The connection.
        ping: Seconds of silence after which the client asks whether the server is
            there.
    """
    connection = endpoint.connection
    connection.envelop()
    return {
        "type": "welcome",
        "id": connection.member_id,
        "ping": ping,
        "version": _VERSION,
    }


def leave(endpoint: Endpoint, group: str, reply: Any) -> bool:
    """End the membership of a group; return whether there was one.

    Raises:
        TypeError: The name is not a str.
    """
    arguments.group_name(group)
    left = endpoint.connection.leave(
        group, None if reply is None else json.dumps(reply)
    )
    if endpoint.groups is not None:
        endpoint.groups.discard(group)
    return left

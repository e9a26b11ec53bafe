"""The types of ASGI (https://asgi.readthedocs.io)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = (
    "EXTENSION",
    "ASGIApplication",
    "AnyApplication",
    "Event",
    "Receive",
    "Scope",
    "Send",
)

#: The extension by which a handshake is refused with a response of HTTP.
EXTENSION = "websocket.http.response"

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
#: An application of others: Channels and Starlette have types of their own for scopes
#: and events.
AnyApplication: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

"""What is sent to many, and to whom not, as the engine takes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from . import arguments

__all__ = ("Message", "Payload", "check_reason", "ids", "payload", "to_json")

Message: TypeAlias = "str | bytes | bytearray | memoryview"
#: The data, whether it is binary, whether it is JSON.
Payload: TypeAlias = "tuple[str | bytes, bool, bool]"


def to_json(data: Any, **kwargs: Any) -> str:
    """Return data as JSON, dates and the like in Django's way.

    Raises:
        TypeError: It has something that JSON has no form for.
        ValueError: It has a number that JSON has no form for (``nan``, ``inf``): a
            browser would stumble over it.
    """
    kwargs.setdefault("cls", DjangoJSONEncoder)
    kwargs.setdefault("allow_nan", False)
    return arguments.well_formed(json.dumps(data, **kwargs))


def payload(message: Any) -> Payload:
    """Return a message as the engine takes it: the data, and if it is binary or JSON.

    ``str`` is text, ``bytes`` binary, anything else is sent as JSON.

    Raises:
        TypeError, ValueError: As :func:`to_json`.
    """
    if isinstance(message, str | Promise):
        return arguments.message(message), False, False
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message), True, False
    return to_json(message), False, True


def ids(exclude: Any) -> list[int]:
    """Return the ids of what a caller wants left out.

    Raises:
        TypeError: It is not a WebSocket, and not several.
    """
    if exclude is None:
        return []
    # A WebSocket can be iterated over, too.
    if hasattr(exclude, "member_id"):
        return [exclude.id]
    if hasattr(exclude, "websocket"):
        # It can be iterated over as well, and nobody would be left out.
        raise TypeError("exclude takes WebSockets: request.websocket, not the request")
    if isinstance(exclude, str | bytes) or not isinstance(exclude, Iterable):
        exclude = [exclude]
    chosen = list(exclude)
    for websocket in chosen:
        if not hasattr(websocket, "member_id"):
            raise TypeError(f"exclude takes WebSockets, not {websocket!r}")
    return [websocket.id for websocket in chosen]


def check_reason(reason: str) -> None:
    """Check a close reason.

    Raises:
        ValueError: It is too long for a control frame (RFC 6455 section 5.5).
        TypeError: It is neither str nor bytes.
    """
    if len(arguments.reason(reason, None).encode()) > 123:
        raise ValueError("a close reason is at most 123 bytes of UTF-8")

"""What is sent to many, and to whom not, as the engine takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from dwebsocket.conf import arguments

__all__ = (
    "Message",
    "Payload",
    "TargetKind",
    "check_reason",
    "ids",
    "payload",
    "to_json",
)

Message: TypeAlias = "str | bytes | bytearray | memoryview"
#: The data, whether it is binary, whether it is JSON.
Payload: TypeAlias = "tuple[str | bytes, bool, bool]"
#: What the names of a message's targets are; "all" has none.
TargetKind: TypeAlias = Literal["group", "user", "all"]

#: The process, and the number of the connection there.
_MEMBER_ID = re.compile(r"[0-9a-f]{16}-[0-9]{1,19}", re.ASCII)


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


def ids(exclude: Any) -> list[str]:
    """Return the member ids of what a caller wants left out.

    Args:
        exclude: A WebSocket, the ``member_id`` of one in any process, a ``Member``, or
            several of them.

    Raises:
        TypeError: It is none of these, or a str that is no ``member_id``.
    """
    if exclude is None:
        return []
    if _is_one(exclude):
        return [_id(exclude)]
    if hasattr(exclude, "websocket"):
        # It can be iterated over as well, and nobody would be left out.
        raise TypeError("exclude takes WebSockets: request.websocket, not the request")
    if isinstance(exclude, bytes) or not isinstance(exclude, Iterable):
        exclude = [exclude]
    return [_id(one) for one in exclude]


def _is_one(exclude: Any) -> bool:
    # A WebSocket and a Member can be iterated over, too.
    return (
        isinstance(exclude, str) or hasattr(exclude, "member_id") or _is_member(exclude)
    )


def _is_member(exclude: Any) -> bool:
    return isinstance(exclude, tuple) and hasattr(exclude, "info")


def _id(one: Any) -> str:
    if hasattr(one, "member_id"):
        one = one.member_id
    elif _is_member(one):
        one = one.id
    if not isinstance(one, str) or not _MEMBER_ID.fullmatch(one):
        raise TypeError(f"exclude takes WebSockets and their member_id, not {one!r}")
    return one


def check_reason(reason: str) -> None:
    """Check a close reason.

    Raises:
        ValueError: It is too long for a control frame (RFC 6455 section 5.5).
        TypeError: It is neither str nor bytes.
    """
    if len(arguments.reason(reason, None).encode()) > arguments.REASON_BYTES:
        raise ValueError(
            f"a close reason is at most {arguments.REASON_BYTES} bytes of UTF-8"
        )

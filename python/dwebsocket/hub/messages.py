"""Conversion of a message and of ``exclude`` into arguments of the engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from dwebsocket.conf import arguments

if TYPE_CHECKING:
    from django.db.models import Model

__all__ = (
    "Excluded",
    "Message",
    "Payload",
    "TargetKind",
    "User",
    "check_reason",
    "ids",
    "payload",
    "to_json",
)

#: A message that is sent as it is; Django's lazy strings are sent as their text.
Message: TypeAlias = "str | bytes | bytearray | memoryview | Promise"
#: The data, whether the data is binary, and whether it is JSON.
Payload: TypeAlias = "tuple[str | bytes, bool, bool]"
#: The kind of a message's targets; "all" takes no names of targets.
TargetKind: TypeAlias = Literal["group", "user", "all"]


class HasMemberId(Protocol):
    """A WebSocket, as far as ``exclude`` needs it."""

    # Not str: pyright compares the descriptor of a WebSocket, not what it returns.
    @property
    def member_id(self) -> object:
        """The id under which the other members see the WebSocket."""


#: A WebSocket, a ``member_id`` or a ``Member``.
OneExcluded: TypeAlias = "HasMemberId | str | tuple[str, Any]"
#: What ``exclude`` takes: one of these, or several.
Excluded: TypeAlias = "OneExcluded | Iterable[OneExcluded]"


class HasKey(Protocol):
    """A user, as far as the hub needs it."""

    @property
    def pk(self) -> object:
        """The primary key."""


#: What calls that reach a user take: the user, or the primary key. pyright does not see
#: that a model has a key if there are no django-stubs.
User: TypeAlias = "HasKey | Model | int | str | UUID"

#: A ``member_id``: the process, and the number of the connection in that process.
_MEMBER_ID = re.compile(r"[0-9a-f]{16}-[0-9]{1,19}", re.ASCII)


def to_json(data: Any, **kwargs: Any) -> str:
    """Return data as JSON text; Django's encoder writes dates and similar types.

    Raises:
        TypeError: The data contains an object that the encoder cannot write.
        ValueError: The data contains a number that JSON cannot express (``nan``,
            ``inf``); a browser could not parse it.
    """
    kwargs.setdefault("cls", DjangoJSONEncoder)
    kwargs.setdefault("allow_nan", False)
    return arguments.well_formed(json.dumps(data, **kwargs))


def payload(message: Any) -> Payload:
    """Return a message as the engine takes it, with the flags "binary" and "JSON".

    ``str`` is sent as text, ``bytes`` as binary, anything else as JSON.

    Raises:
        TypeError, ValueError: As :func:`to_json`.
    """
    if isinstance(message, str | Promise):
        return arguments.message(message), False, False
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message), True, False
    return to_json(message), False, True


def ids(exclude: Any) -> list[str]:
    """Return the member ids of the connections that do not get a message.

    Args:
        exclude: A WebSocket, the ``member_id`` of a WebSocket in any process, a
            ``Member``, or several of these.

    Raises:
        TypeError: ``exclude`` is none of these, or a str that is not a ``member_id``.
    """
    if exclude is None:
        return []
    if _is_one(exclude):
        return [_id(exclude)]
    if hasattr(exclude, "websocket"):
        # A request can be iterated over (its lines): without this check, the call would
        # exclude nobody.
        raise TypeError("exclude takes WebSockets: request.websocket, not the request")
    if isinstance(exclude, bytes) or not isinstance(exclude, Iterable):
        exclude = [exclude]
    return [_id(one) for one in exclude]


def _is_one(exclude: Any) -> bool:
    # Checked first, because a WebSocket and a Member can be iterated over, too.
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
        ValueError: The reason is too long for a control frame (RFC 6455 section 5.5).
        TypeError: The reason is neither str nor bytes.
    """
    if len(arguments.reason(reason, None).encode()) > arguments.REASON_BYTES:
        raise ValueError(
            f"a close reason is at most {arguments.REASON_BYTES} bytes of UTF-8"
        )

"""What an application answers a handshake, as Django's response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.http import HttpResponse

from dwebsocket import _engine
from dwebsocket.asgi.protocol import Event
from dwebsocket.runners.headers import OF_HOPS, add, checked

__all__ = ("Accepted", "Failed", "Refused", "accepted", "refused")


class Accepted(NamedTuple):
    """The application opens the WebSocket.

    Args:
        subprotocol: The subprotocol, or None.
        headers: Headers for the 101.
    """

    subprotocol: str | None
    headers: list[tuple[str, str]]


class Refused(NamedTuple):
    """The application refuses the WebSocket.

    Args:
        response: What the client gets.
        reason: The reason, for the log.
    """

    response: HttpResponse
    reason: str


class Failed(NamedTuple):
    """The application has ended without an answer.

    Args:
        error: The exception that has ended it; None: it has returned.
    """

    error: BaseException | None


def accepted(event: Event, handshake: _engine.Handshake) -> Accepted:
    """Return the meaning of ``websocket.accept``.

    Raises:
        ValueError: A 101 cannot be sent with its subprotocol, or with its headers.
    """
    subprotocol = event.get("subprotocol")
    headers = _decoded(event.get("headers") or ())
    return Accepted(subprotocol, checked(handshake, subprotocol, headers))


def refused(start: Event, body: bytes, handshake: _engine.Handshake) -> Refused:
    """Return the meaning of ``websocket.http.response.start`` and its body.

    Headers that the server itself determines are left out.

    Raises:
        ValueError: The status is none of a response, or HTTP does not allow a header.
    """
    status = start["status"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"a refusal needs a status from 200 to 599, not {status!r}")
    response = HttpResponse(body, status=status)
    # The application has its own.
    del response["Content-Type"]
    headers = _decoded(start.get("headers") or ())
    # This checks names and values.
    handshake.response(None, headers)
    add(response, [pair for pair in headers if pair[0].lower() not in OF_HOPS])
    return Refused(response, response.reason_phrase)


def _decoded(headers: Iterable[Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in headers:
        pair = bytes(name).decode("latin-1"), bytes(value).decode("latin-1")
        if any(character in "\r\n\0" for character in "".join(pair)):
            raise ValueError(f"a header has a line break: {pair!r}")
        found.append(pair)
    return found

"""Sends what daphne would not send, by the connection to which its ``send`` leads.

daphne drops the headers of the answer, messages without content, and the reason of a
Close frame; it refuses to close with codes such as 1011 and 1012.
"""

from __future__ import annotations

import functools
from typing import Any

from .protocol import Event, Send

__all__ = ("able_to_send",)


def able_to_send(send: Send) -> Send:
    """Return a function that sends all that ASGI has; ``send`` of another server.

    Args:
        send: The server's function.
    """
    arguments = send.args if isinstance(send, functools.partial) else ()
    protocol: Any = arguments[0] if arguments else None
    known = type(protocol).__module__.startswith("daphne.")
    if not (known and hasattr(protocol, "sendCloseFrame")):
        return send

    async def send_all(event: Event) -> None:
        kind = event["type"]
        if kind == "websocket.close" and "handshake_deferred" not in vars(protocol):
            protocol.sendCloseFrame(event["code"], event["reason"].encode())
        elif kind == "websocket.accept" and "handshake_deferred" in vars(protocol):
            _accept(protocol, event)
        elif kind == "websocket.send" and not (event.get("text") or event.get("bytes")):
            protocol.sendMessage(b"", "bytes" in event)
        else:
            await send(event)

    return send_all


def _accept(protocol: Any, event: Event) -> None:
    """Answer the handshake as the protocol's ``serverAccept`` does, with headers."""
    headers: dict[str, list[str]] = {}
    for name, value in event["headers"]:
        headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    answer = event["subprotocol"], headers
    vars(protocol).pop("handshake_deferred").callback(answer)

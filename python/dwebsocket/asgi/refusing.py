"""Sends a response that refuses a WebSocket to an ASGI server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.http.response import HttpResponseBase

from .protocol import EXTENSION, Scope, Send

__all__ = ("refuse",)

#: The parts of a body are joined up to so many bytes: granian sends an empty 403 where
#: a body has several.
_JOINED = 64 * 1024


async def refuse(scope: Scope, send: Send, response: HttpResponseBase) -> None:
    """Send a response in place of the 101.

    A server without the extension answers 403, whatever the response is.
    """
    if EXTENSION not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return
    status = int(response.status_code)
    await send(
        {
            "type": f"{EXTENSION}.start",
            # A status like 101 has no body, and would leave the client waiting.
            "status": status if status >= 200 else 500,
            "headers": _headers(response),
        }
    )
    kind = f"{EXTENSION}.body"
    body = bytearray()
    async for part in _parts(response):
        if body and len(body) + len(part) > _JOINED:
            await send({"type": kind, "body": bytes(body), "more_body": True})
            body.clear()
        body += part
    await send({"type": kind, "body": bytes(body), "more_body": False})


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in response.items()
    ]
    cookies = [
        (b"set-cookie", morsel.OutputString().encode("latin-1"))
        for morsel in response.cookies.values()
    ]
    return headers + cookies


async def _parts(response: Any) -> AsyncIterator[bytes]:
    if not getattr(response, "streaming", False):
        yield response.content
    elif getattr(response, "is_async", False):
        async for part in response:
            yield part
    else:
        for part in await sync_to_async(_all)(response):
            yield part


def _all(response: Any) -> list[bytes]:
    return list(response)

"""The answer to a handshake that is refused."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response

from dwebsocket import signals
from dwebsocket.process.reporting import shown

from . import plain

__all__ = ("LATER", "refuse")

logger = logging.getLogger("dwebsocket.handshake")

#: When a client may try again.
LATER = (("Retry-After", "10"),)


def refuse(
    request: HttpRequest,
    status: int,
    message: str,
    headers: Sequence[tuple[str, str]] = (),
    log: logging.Logger = logger,
    level: str | None = None,
) -> HttpResponse:
    """Return a refusal; log it and send the signal.

    Args:
        request: The handshake.
        status: The status of HTTP.
        message: Why, in a sentence.
        headers: Headers of the response.
        log: The logger.
        level: The level's name, where it is not the one that Django has for the status.
    """
    response = HttpResponse(
        message + "\n",
        status=status,
        content_type="text/plain; charset=utf-8",
        headers=dict(headers),
    )
    plain.vary(response)
    if signals.websocket_rejected.receivers:
        signals.send(
            signals.websocket_rejected,
            type(request),
            request=request,
            status=status,
            reason=message,
        )
    log_response(
        "WebSocket refused (%s): %s: %s",
        status,
        shown(request.path),
        shown(message),
        response=response,
        request=request,
        logger=log,
        level=level,
    )
    return response

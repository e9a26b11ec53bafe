"""The response to a refused handshake."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response

from dwebsocket import signals
from dwebsocket.process import figures
from dwebsocket.process.reporting import shown
from dwebsocket.process.visitor import visitor

from . import plain

__all__ = ("LATER", "note", "refuse")

logger = logging.getLogger("dwebsocket.handshake")

#: The header that tells a client when to try again, in seconds.
LATER = (("Retry-After", "10"),)


def refuse(
    request: HttpRequest,
    status: int,
    message: str,
    headers: Sequence[tuple[str, str]] = (),
    log: logging.Logger = logger,
    level: str | None = None,
) -> HttpResponse:
    """Return a response that refuses a handshake; log it and send the signal.

    Args:
        request: The handshake.
        status: The HTTP status.
        message: The reason, as a sentence.
        headers: Headers of the response.
        log: The logger.
        level: The name of the log level; None: the level that Django has for the
            status.
    """
    response = HttpResponse(
        message + "\n",
        status=status,
        content_type="text/plain; charset=utf-8",
        headers=dict(headers),
    )
    note(request, response, message, log, level)
    return response


def note(
    request: HttpRequest,
    response: HttpResponse,
    message: str,
    log: logging.Logger = logger,
    level: str | None = None,
) -> None:
    """Log the refusal of a handshake, count it, and send the signal.

    Args:
        request: The handshake.
        response: What the client gets.
        message: The reason.
        log: The logger.
        level: The name of the log level; None: the level that Django has for the
            status.
    """
    status = response.status_code
    plain.vary(response)
    figures.refused(status)
    if signals.websocket_rejected.receivers:
        signals.send(
            signals.websocket_rejected,
            type(request),
            request=request,
            status=status,
            reason=message,
        )
    log_response(
        "WebSocket refused (%s): %s for %s: %s",
        status,
        shown(request.path),
        visitor(request),
        shown(message),
        response=response,
        request=request,
        logger=log,
        level=level,
    )

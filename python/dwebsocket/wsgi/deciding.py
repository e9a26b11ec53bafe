"""Has a view decide on its own handshake, while the request's thread waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dwebsocket import signals
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.handshake import plain
from dwebsocket.handshake.refusal import LATER, refuse
from dwebsocket.handshake.request import mark
from dwebsocket.process import figures
from dwebsocket.process.reporting import name_of, shown
from dwebsocket.runners.door import Answer, carry_back

__all__ = ("decide",)

logger = logging.getLogger("dwebsocket.handshake")


def decide(
    call: Any, start: Callable[[], None], dismiss: Callable[[], None]
) -> HttpResponseBase | None:
    """Run a view until it accepts its WebSocket, or refuses it.

    Args:
        call: The view's call.
        start: Starts the view.
        dismiss: Frees what was reserved for the WebSocket.

    Returns:
        The response that refuses the WebSocket; None: the view has accepted it.

    Raises:
        BaseException: Whatever the view has raised.
        ConfigurationError: The view has neither accepted nor returned a response.
    """
    door = call.door
    answer = None
    try:
        door.lend()
        answer = door.wait(start)
    finally:
        if answer is None or not answer.accepted:
            dismiss()
        if answer is not None and not answer.accepted:
            mark(call.request, True)
    if answer is None:
        call.withdraw()
        return _refuse_late(call)
    carry_back(answer.changes)
    return None if answer.accepted else _refusal(call, answer)


def _refusal(call: Any, answer: Answer) -> HttpResponseBase:
    error = answer.error
    if error is not None:
        raise _for_requests(error)
    response = answer.returned
    if not isinstance(response, HttpResponseBase):
        again = " Write 'await request.websocket.accept()'." * call.asynchronous
        raise ConfigurationError(
            f"The WebSocket view {name_of(call.view)} has returned "
            f"{type(response).__name__}, and has not called accept(): it must do that "
            f"or return a response.{again}"
        )
    _note(call.request, response)
    plain.vary(response)
    return response


def _for_requests(error: BaseException) -> BaseException:
    """Return what to raise in the request's thread."""
    if isinstance(error, Exception | SystemExit | KeyboardInterrupt):
        return error
    failure = RuntimeError(
        "the view was ended before it had accepted its WebSocket: "
        f"{error or type(error).__name__}"
    )
    failure.__cause__ = error
    return failure


def _note(request: HttpRequest, response: HttpResponseBase) -> None:
    """Count a view's own refusal, and send the signal; Django logs it."""
    figures.refused(response.status_code)
    if signals.websocket_rejected.receivers:
        signals.send(
            signals.websocket_rejected,
            type(request),
            request=request,
            status=response.status_code,
            reason="The view has returned this response.",
        )


def _refuse_late(call: Any) -> HttpResponseBase:
    return refuse(
        call.request,
        503,
        f"The view {name_of(call.view)} of {shown(call.request.path)} has not called "
        "accept(), nor returned a response, in time (ACCEPT_TIMEOUT).",
        LATER,
        level="error",
    )

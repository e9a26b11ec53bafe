"""Errors of views, told to those who hear of errors in Django's own views.

These are the receivers of ``got_request_exception`` and the handlers of the logger
``django.request``: by default, the mails to ``ADMINS``.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from django.core.signals import got_request_exception

from . import signals

__all__ = ("report", "shown")

_channel = logging.getLogger("django.request")

#: What would end a line of a log, or change what a terminal shows of it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def shown(value: Any) -> str:
    """Return a text for a log, in which strangers can forge no line.

    Args:
        value: What a stranger may have chosen: a path (``%0A`` in a URL is a line
            feed), or an exception that names one.
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], str(value))


def report(logger: logging.Logger, message: str, *args: Any, request: Any) -> None:
    """Log the exception that is being handled, and send Django's signal.

    Args:
        logger: The logger whose record it is.
        message: What happened, with ``%s`` for each of ``args``.
        args: What belongs in there.
        request: The request that it happened to.
    """
    while "_request" in getattr(request, "__dict__", ()):
        # REST framework's wrapper.
        request = request.__dict__["_request"]
    if got_request_exception.receivers:
        signals.send(got_request_exception, None, request=request)
    frame = sys._getframe(1)
    record = logger.makeRecord(
        logger.name,
        logging.ERROR,
        frame.f_code.co_filename,
        frame.f_lineno,
        message,
        tuple(shown(each) if isinstance(each, str) else each for each in args),
        sys.exc_info(),
        frame.f_code.co_name,
        {"request": request, "status_code": 500},
    )
    _log(logger, record)


def _handlers(logger: logging.Logger) -> list[logging.Handler]:
    """Return the handlers that a record of a logger gets to."""
    found: list[logging.Handler] = []
    step: logging.Logger | None = logger
    while step is not None:
        found += step.handlers
        step = step.parent if step.propagate else None
    return found


def _shows(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Return whether a handler writes a record to a stream."""
    return (
        isinstance(handler, logging.StreamHandler)
        and record.levelno >= handler.level
        and bool(handler.filter(record))
    )


def _log(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Give a record to the handlers of its logger and of Django's, once to each."""
    own = _handlers(logger) if logger.isEnabledFor(record.levelno) else []
    others: list[logging.Handler] = []
    if _channel.isEnabledFor(record.levelno) and _channel.filter(record):
        others = [handler for handler in _handlers(_channel) if handler not in own]
    if not own and any(_shows(handler, record) for handler in others):
        # The last resort of logging would write it to stderr once more.
        _channel.callHandlers(record)
        return
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
    for handler in others:
        if record.levelno >= handler.level:
            handler.handle(record)

"""Reports errors of views to the same receivers as errors of Django's own views.

These are the receivers of the signal ``got_request_exception`` and the handlers of the
logger ``django.request``; by default, the latter send mails to ``ADMINS``.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from django.core.signals import got_request_exception

from dwebsocket import signals

__all__ = ("name_of", "report", "shown")

_channel = logging.getLogger("django.request")

#: Characters that end a line of a log or change how a terminal shows it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def shown(value: Any) -> str:
    """Return a text for a log with its control characters escaped.

    Without this, a stranger could forge lines of the log.

    Args:
        value: A text that a stranger may have chosen: a path (``%0A`` in a URL is a
            line feed), or an exception that names one.
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], str(value))


def name_of(view: Any) -> str:
    """Return a view's dotted name; for a class-based view, that of the class."""
    view = getattr(view, "view_class", None) or getattr(view, "cls", None) or view
    name = getattr(view, "__qualname__", None)
    return f"{view.__module__}.{name}" if name else repr(view)


def report(logger: logging.Logger, message: str, *args: Any, request: Any) -> None:
    """Log the exception that is being handled, and send Django's signal.

    Args:
        logger: The logger of the record.
        message: What happened, with ``%s`` for each of ``args``.
        args: The arguments of the message.
        request: The request whose view failed.
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
    """Return the handlers that get a logger's records."""
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
    """Give a record to the handlers of ``logger`` and of ``django.request``, once."""
    own = _handlers(logger) if logger.isEnabledFor(record.levelno) else []
    others: list[logging.Handler] = []
    if _channel.isEnabledFor(record.levelno) and _channel.filter(record):
        others = [handler for handler in _handlers(_channel) if handler not in own]
    if not own and any(_shows(handler, record) for handler in others):
        # The last resort of logging would write the record to stderr a second time.
        _channel.callHandlers(record)
        return
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
    for handler in others:
        if record.levelno >= handler.level:
            handler.handle(record)

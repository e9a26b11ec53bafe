"""Writes warnings to standard error if no handler takes them.

Python does this for loggers without any handler. Loggers below "django" have handlers,
but with ``DEBUG = False`` none of those in Django's default LOGGING takes a warning,
and none takes an error if ``ADMINS`` is empty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.utils.log import AdminEmailHandler

__all__ = ("attach",)


class _LastResort(logging.Handler):
    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if last is None or record.levelno < last.level or self._is_taken(record):
            return
        last.handle(record)

    def _is_taken(self, record: logging.LogRecord) -> bool:
        """Return whether another handler takes a record."""
        logger: logging.Logger | None = self._logger
        while logger is not None:
            for handler in logger.handlers:
                if handler is self or record.levelno < handler.level:
                    continue
                if handler.filter(record) and not _mails_nobody(handler):
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def _mails_nobody(handler: logging.Handler) -> bool:
    """Return whether a handler sends mails to ``ADMINS``, and there are none."""
    return (
        isinstance(handler, AdminEmailHandler)
        and not settings.ADMINS
        # A project's own class may write to others.
        and type(handler).emit is AdminEmailHandler.emit
        and type(handler).send_mail is AdminEmailHandler.send_mail
    )


def attach(
    logger: logging.Logger, only: Callable[[logging.LogRecord], bool] | None = None
) -> None:
    """Have a logger's warnings written to standard error if no handler takes them.

    Args:
        logger: The logger.
        only: Returns whether a record is meant; None: all are.
    """
    handler = _LastResort(logger)
    if only is not None:
        handler.addFilter(only)
    logger.addHandler(handler)

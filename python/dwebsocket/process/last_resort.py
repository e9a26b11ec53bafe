"""Writes warnings to standard error if no handler takes them.

Python does this for loggers without any handler. Loggers below "django" have handlers,
but with ``DEBUG = False`` none of those in Django's default LOGGING takes a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

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
                if handler.filter(record):
                    return True
            logger = logger.parent if logger.propagate else None
        return False


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

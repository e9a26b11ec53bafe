"""A line of the log that nobody would see goes to standard error.

Python does so for loggers without any handler. Those below "django" have some, and with
``DEBUG = False`` Django's default LOGGING lets none of them take a warning.
"""

from __future__ import annotations

import logging

__all__ = ("attach",)


def _taken(record: logging.LogRecord, own: logging.Handler) -> bool:
    """Whether some other handler takes a record."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            if handler is own or record.levelno < handler.level:
                continue
            if handler.filter(record):
                return True
        logger = logger.parent if logger.propagate else None
    return False


class _LastResort(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if last is None or record.levelno < last.level or _taken(record, self):
            return
        last.handle(record)


def attach(logger: logging.Logger) -> None:
    """Have a logger's warnings shown where no handler takes them."""
    logger.addHandler(_LastResort())

"""A line of the log that nobody would see goes to standard error.

Python does so for loggers without any handler. Those below "django" have some, and with
``DEBUG = False`` Django's default LOGGING lets none of them take a warning.
"""

from __future__ import annotations

import logging

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
        """Whether some other handler takes a record."""
        logger: logging.Logger | None = self._logger
        while logger is not None:
            for handler in logger.handlers:
                if handler is self or record.levelno < handler.level:
                    continue
                if handler.filter(record):
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def attach(logger: logging.Logger) -> None:
    """Have a logger's warnings shown where no handler takes them."""
    logger.addHandler(_LastResort(logger))

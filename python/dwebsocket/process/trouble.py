"""Log lines about a failure that may last for long, such as a missing database."""

from __future__ import annotations

import logging
import threading
import time

__all__ = ("Trouble",)


class Trouble:
    """Logs the first failure, then at most one failure a minute, and the first success.

    Args:
        logger: The logger.
        message: A text that says what does not work.
    """

    #: Seconds between two lines.
    PAUSE = 60.0

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self._logger = logger
        self._message = message
        self._logged = 0.0

    def note(self, error: Exception) -> None:
        """Take note of a failure."""
        now = time.monotonic()
        if self._logged and now - self._logged < self.PAUSE:
            return
        self._logged = now
        name = threading.current_thread().name
        self._logger.warning("%s (%s): %r", self._message, name, error, exc_info=error)

    def over(self) -> None:
        """Take note of a success."""
        if self._logged:
            self._logged = 0.0
            self._logger.info("This problem is over: %s", self._message)

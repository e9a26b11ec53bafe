"""Log lines about something that may go on for long: a database that is away, say."""

from __future__ import annotations

import logging
import threading
import time

__all__ = ("Trouble",)


class Trouble:
    """Logs the first failure, then one a minute, and the end.

    Args:
        logger: Where to.
        message: What does not work.
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
            self._logger.info("Again possible after: %s", self._message)

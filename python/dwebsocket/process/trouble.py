"""Log lines about a failure that may last for long, such as a missing database.

A failure that may be a mistake in a project's code is reported instead, but not for
each of thousands of clients that try again and again.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Hashable

from . import fork
from .bucket import Bucket

__all__ = ("Repeats", "Trouble")

#: The last calls by which failures are told apart.
STEPS = 20


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


class Repeats:
    """Decides which of the failures that come again and again are reported.

    Failures are alike if they are of one class and come from the same place in the
    code, over the same last calls. Of those that are alike, some are reported at once,
    and then one a minute.
    """

    #: Failures that are reported at once.
    BURST = 10
    #: Seconds until one more is reported.
    PAUSE = 60.0
    #: The most kinds of failures that are remembered.
    MOST = 1_000

    def __init__(self) -> None:
        self._lock = fork.Lock()
        #: How many may be reported, and how many were not, by kind.
        self._kinds: dict[Hashable, tuple[Bucket, int]] = {}

    def skipped(self, error: BaseException) -> int | None:
        """Take note of a failure.

        Returns:
            None if it is not to be reported; otherwise, how many that are alike were
            not reported since the last one.
        """
        kind = _kind(error)
        with self._lock:
            found = self._kinds.pop(kind, None)
            bucket, skipped = found or (Bucket(1 / self.PAUSE, self.BURST), 0)
            is_reported = not bucket.wait_for()
            # The last one is the latest: the first one is forgotten first.
            self._kinds[kind] = bucket, 0 if is_reported else skipped + 1
            if len(self._kinds) > self.MOST:
                del self._kinds[next(iter(self._kinds))]
        return skipped if is_reported else None


def _kind(error: BaseException) -> Hashable:
    # An endless recursion has a thousand steps.
    steps = deque(traceback.walk_tb(error.__traceback__), STEPS)
    return type(error), tuple((frame.f_code.co_filename, line) for frame, line in steps)

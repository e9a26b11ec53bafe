"""Tells whether gunicorn has told this worker to end, and why."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

__all__ = ("has_served_enough", "is_ending", "worker")

#: The process, and its worker object.
_found: tuple[int, Any] | None = None


def worker() -> Any:
    """Return gunicorn's worker object in this process; None if it is not known.

    The first call must come from a request: the object is found on the stack, and kept.
    """
    global _found
    if _found is not None and _found[0] == os.getpid():
        return _found[1]
    base = sys.modules.get("gunicorn.workers.base")
    if base is None:
        return None
    step: FrameType | None = sys._getframe(1)
    while step is not None:
        candidate = step.f_locals.get("self")
        if isinstance(candidate, base.Worker):
            _found = os.getpid(), candidate
            return candidate
        step = step.f_back
    return None


def is_ending() -> bool:
    """Return whether this process is a worker that serves its last requests."""
    found = worker()
    return found is not None and not found.alive


def has_served_enough() -> bool:
    """Return whether this worker ends because of ``--max-requests``."""
    found = worker()
    return found is not None and bool(found.nr >= found.max_requests)

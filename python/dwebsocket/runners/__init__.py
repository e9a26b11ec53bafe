"""Where a view runs: in a thread of its own, or in a greenlet under gevent."""

from __future__ import annotations

from .call import ASYNC, GOING_AWAY, NORMAL, Call, Job, give_up
from .runner import Runner, Seat, join, kind

__all__ = (
    "ASYNC",
    "GOING_AWAY",
    "NORMAL",
    "Call",
    "Job",
    "Runner",
    "Seat",
    "give_up",
    "join",
    "kind",
)

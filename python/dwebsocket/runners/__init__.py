"""Run each view in a thread of its own or, under gevent, in a greenlet."""

from __future__ import annotations

from .call import ASYNC, GOING_AWAY, NORMAL, Call, Job, give_up
from .runner import Runner, Seat, join, kind, running

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
    "running",
)

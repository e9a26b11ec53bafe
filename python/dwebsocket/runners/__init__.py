"""Run each view in a thread of its own or, under gevent, in a greenlet.

Asynchronous views are tasks of one event loop. The handlers of classes run in a pool of
threads.
"""

from __future__ import annotations

from .call import GOING_AWAY, NORMAL, Call, Job, give_up
from .runner import Runner, Seat, join, kind, of, running

__all__ = (
    "GOING_AWAY",
    "NORMAL",
    "Call",
    "Job",
    "Runner",
    "Seat",
    "give_up",
    "join",
    "kind",
    "of",
    "running",
)

"""Calls that may wait for the broker; under gevent, only the calling greenlet waits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dwebsocket.conf import settings
from dwebsocket.process import gevent
from dwebsocket.process.habits import serving

__all__ = ("call", "note_many")

P = ParamSpec("P")
T = TypeVar("T")


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the engine that may wait for the broker.

    A thread may simply wait: the engine releases the interpreter meanwhile. Under
    gevent, all greenlets would wait with the call; so the function is called in a
    thread of a small pool, and only the calling greenlet waits.
    """
    if settings.BROKER is None or not gevent.is_patched():
        return function(*args, **kwargs)
    # Imported here, because the module needs gevent.
    from . import gevent_pool

    return gevent_pool.call(function, *args, **kwargs)


def note_many() -> None:
    """Note that this greenlet or asynchronous view sends to many.

    The engine itself notes it of threads.
    """
    habit = serving.get()
    if habit is not None:
        habit.turns += 1
    if "gevent" in sys.modules and gevent.is_patched():
        gevent.sender().note(0)

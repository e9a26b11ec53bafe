"""Calls that may wait for the broker, and under gevent must not hold up the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dwebsocket.conf import settings
from dwebsocket.process import gevent

__all__ = ("call", "note_many")

P = ParamSpec("P")
T = TypeVar("T")


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the engine that may wait for the broker.

    In a thread, it may simply wait: the interpreter is released. Under gevent, the
    whole process would wait with it; there it is called in a thread of a small pool,
    and only the greenlet waits.
    """
    if settings.BROKER is None or not gevent.is_patched():
        return function(*args, **kwargs)
    # Imported where there is gevent.
    from . import gevent_pool

    return gevent_pool.call(function, *args, **kwargs)


def note_many() -> None:
    """Note that this greenlet sends to many; of threads, the engine knows by itself."""
    if "gevent" in sys.modules and gevent.is_patched():
        gevent.sender().note(0)

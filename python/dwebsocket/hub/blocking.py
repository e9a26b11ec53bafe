"""Calls that may wait for the broker, and under gevent must not hold up the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dwebsocket.conf import settings

__all__ = ("call", "is_patched", "note_many")

P = ParamSpec("P")
T = TypeVar("T")


def is_patched() -> bool:
    """Return whether gevent has patched the threads of this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the engine that may wait for the broker.

    In a thread, it may simply wait: the interpreter is released. Under gevent, the
    whole process would wait with it; there it is called in a thread of a small pool,
    and only the greenlet waits.
    """
    if settings.BROKER is None or not is_patched():
        return function(*args, **kwargs)
    # Imported where there is gevent.
    from . import gevent_pool

    return gevent_pool.call(function, *args, **kwargs)


def note_many() -> None:
    """Note that this greenlet sends to many; of threads, the engine knows by itself."""
    greenlets = sys.modules.get("dwebsocket.runners.greenlets")
    if greenlets is not None:
        greenlets.sender().note(0)

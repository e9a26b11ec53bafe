"""Real threads that wait for the broker on behalf of greenlets.

Imported only where gevent has patched the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.threadpool import ThreadPool

from dwebsocket._engine import BrokerError

__all__ = ("call",)

P = ParamSpec("P")
T = TypeVar("T")

#: Threads for each of gevent's hubs; who comes when all are busy waits for one. They
#: start as they are needed.
_SIZE = 16

#: Of their own: gevent looks up host names in its own pool, and must go on doing so.
_pools: WeakKeyDictionary[Any, ThreadPool] = WeakKeyDictionary()


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a real thread while other greenlets run.

    Raises:
        BrokerError: The system has no thread left.
    """
    hub = get_hub_if_exists()
    if hub is None or gevent.getcurrent() is hub:
        # A real thread, whose waiting holds up no greenlet; or the hub itself, which
        # cannot wait for another thread.
        return function(*args, **kwargs)
    pool = _pools.get(hub)
    if pool is None:
        pool = _pools[hub] = ThreadPool(_SIZE, hub=hub)

    def attempt() -> tuple[T | None, BaseException | None]:
        # gevent prints what a thread of a pool raises.
        try:
            return function(*args, **kwargs), None
        except BaseException as error:
            return None, error

    try:
        result, error = pool.apply(attempt)
    except RuntimeError as failure:
        # Of the pool's own; a thread that it has already may still do it.
        raise BrokerError(f"no thread is left to ask it: {failure}") from failure
    if error is not None:
        raise error
    return result  # type: ignore[return-value]

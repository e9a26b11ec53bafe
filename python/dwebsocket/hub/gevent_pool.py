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

#: The most threads for each of gevent's hubs. They start when they are needed; while
#: all are busy, a further call waits.
_SIZE = 16

#: Pools apart from gevent's own, which must stay free for lookups of host names.
_pools: WeakKeyDictionary[Any, ThreadPool] = WeakKeyDictionary()


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a real thread while other greenlets run.

    Raises:
        BrokerError: The system has no thread left.
    """
    hub = get_hub_if_exists()
    if hub is None or gevent.getcurrent() is hub:
        # This is a real thread, which may wait without holding up greenlets; or the
        # hub itself, which cannot wait for another thread.
        return function(*args, **kwargs)
    pool = _pools.get(hub)
    if pool is None:
        pool = _pools[hub] = ThreadPool(_SIZE, hub=hub)

    def attempt() -> tuple[T | None, BaseException | None]:
        # gevent would print an exception that leaves a thread of the pool.
        try:
            return function(*args, **kwargs), None
        except BaseException as error:
            return None, error

    try:
        result, error = pool.apply(attempt)
    except RuntimeError as failure:
        # The pool itself raised this: it could not start a thread. One of its running
        # threads may still call the function.
        raise BrokerError(f"no thread is left to wait for it: {failure}") from failure
    if error is not None:
        raise error
    return result  # type: ignore[return-value]

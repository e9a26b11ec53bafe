"""Calls that may wait for the broker, for asynchronous views."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from dwebsocket.conf import settings

__all__ = ("acall",)

P = ParamSpec("P")
T = TypeVar("T")


async def acall(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that may wait for the broker, without blocking the event loop.

    Without a broker nothing waits, and the function is called at once.
    """
    if settings.BROKER is None:
        return function(*args, **kwargs)
    return await sync_to_async(function, thread_sensitive=False)(*args, **kwargs)

"""Values that many threads ask for at once, and that one of them computes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

from dwebsocket.process import fork

__all__ = ("Shared",)

T = TypeVar("T")


class Shared(Generic[T]):
    """Values by key; a forked child begins with none.

    Args:
        age: Seconds for which a value is given to others, from the moment in which its
            computation began.
    """

    def __init__(self, age: float) -> None:
        self.age = age
        self._lock = fork.Lock()
        self._found: dict[str, tuple[float, Future[T]]] = {}
        os.register_at_fork(after_in_child=self._clear)

    def get(self, key: str, compute: Callable[[], T]) -> T:
        """Return the value of a key, and compute it if there is no recent one.

        If the computation of another thread fails, this one makes its own: an exception
        has a traceback, and belongs to one thread.
        """
        value, is_mine = self._value(key)
        if is_mine:
            try:
                value.set_result(compute())
            except BaseException:
                self._drop(key, value)
                value.cancel()
                raise
        try:
            return value.result()
        except CancelledError:
            return compute()

    def forget(self, key: str) -> None:
        """Have the next call compute the value again."""
        with self._lock:
            self._found.pop(key, None)

    def _value(self, key: str) -> tuple[Future[T], bool]:
        """Return where the value is or will be, and whether the caller computes it."""
        with self._lock:
            now = time.monotonic()
            found = self._found.get(key)
            if found is not None and now - found[0] < self.age:
                return found[1], False
            # The others are forgotten, too, when they are old: there may be many keys.
            self._found = {
                other: each
                for other, each in self._found.items()
                if now - each[0] < self.age
            }
            value: Future[T] = Future()
            self._found[key] = now, value
            return value, True

    def _drop(self, key: str, value: Future[T]) -> None:
        with self._lock:
            found = self._found.get(key)
            if found is not None and found[1] is value:
                del self._found[key]

    def _clear(self) -> None:
        self._found = {}

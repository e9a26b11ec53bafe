"""Properties that the attributes of a project may hide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ("Shown",)

T = TypeVar("T")


class Shown(Generic[T]):
    """A property that an object's own attribute may hide: old code sets ``ws.id``.

    Args:
        read: Returns the value for an object.
    """

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        """Return the value; when read from the class, return this property itself."""
        if instance is None:
            return self  # type: ignore[return-value]
        return self._read(instance)

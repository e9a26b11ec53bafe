"""Typed messages: methods that get the fields of JSON messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ("check", "on")

Method = TypeVar("Method", bound=Callable[..., Any])


def on(kind: str) -> Callable[[Method], Method]:
    """Have a method get the messages of a type."""

    def mark(method: Method) -> Method:
        return method

    return mark


def check(cls: type[Any]) -> None:
    """Check the methods of a class."""

"""What a setting may be, and how what it may not be is told."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .arguments import shown

__all__ = (
    "COUNT",
    "SECONDS",
    "Key",
    "integer",
    "nearest",
    "one_of",
    "optional",
    "positive",
)


SECONDS = "a number of seconds greater than 0"
COUNT = "a whole number of at least 1"


class Key(NamedTuple):
    """What a setting may be.

    Args:
        default: Its value where the project says nothing.
        valid: Whether a value is acceptable.
        expected: What is, in words for an error message.
        engine: Whether it is an option of the engine, under its lowercase name.
        scoped: Whether a decorator may give its own, under the lowercase name.
        detail: Returns what is wrong with a value that is not acceptable, in words; ""
            where ``expected`` says enough.
    """

    default: Any
    valid: Callable[[Any], bool]
    expected: str
    engine: bool = False
    scoped: bool = True
    detail: Callable[[Any], str] | None = None

    def problem(self, where: str, value: Any) -> str:
        """Return what is wrong with a value, as a sentence; "" if nothing is."""
        if self.valid(value):
            return ""
        detail = self.detail(value) if self.detail is not None else ""
        if not detail:
            detail = f", not {shown(value)}"
        return f"{where} must be {self.expected}{detail}."


def integer(low: int) -> Callable[[Any], bool]:
    """Return whether a value is a whole number of at least this."""
    return lambda value: type(value) is int and value >= low


def positive(value: Any) -> bool:
    """Return whether a value is a number greater than 0, and not absurd."""
    return type(value) in (int, float) and 0 < value < 1e9


def optional(valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Accept None, too."""
    return lambda value: value is None or valid(value)


def one_of(*values: Any) -> Callable[[Any], bool]:
    """Accept these values alone."""
    return lambda value: any(value is v or value == v for v in values)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint at the name that was probably meant, or ""."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""

"""The type of a setting: its default, the check of its value, and error messages."""

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
    """One setting: its default and its acceptable values.

    Args:
        default: The value if the project does not set one.
        valid: Returns whether a value is acceptable.
        expected: The acceptable values in words, for an error message.
        engine: Whether the setting is an option of the engine, under its lowercase
            name.
        scoped: Whether a decorator may override the setting for its view, with an
            argument of the lowercase name.
        detail: Returns in words what is wrong with an unacceptable value; "" if
            ``expected`` says enough.
    """

    default: Any
    valid: Callable[[Any], bool]
    expected: str
    engine: bool = False
    scoped: bool = True
    detail: Callable[[Any], str] | None = None

    def problem(self, where: str, value: Any) -> str:
        """Return a sentence that says what is wrong with a value; "" if it is valid."""
        if self.valid(value):
            return ""
        detail = self.detail(value) if self.detail is not None else ""
        if not detail:
            detail = f", not {shown(value)}"
        return f"{where} must be {self.expected}{detail}."


def integer(low: int) -> Callable[[Any], bool]:
    """Return a check for whole numbers of at least ``low``."""
    return lambda value: type(value) is int and value >= low


def positive(value: Any) -> bool:
    """Return whether a value is a number greater than 0 and less than 1e9."""
    return type(value) in (int, float) and 0 < value < 1e9


def optional(valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a check that accepts None and what ``valid`` accepts."""
    return lambda value: value is None or valid(value)


def one_of(*values: Any) -> Callable[[Any], bool]:
    """Return a check that accepts only these values."""
    return lambda value: any(value is v or value == v for v in values)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint at the name that was probably meant; "" if no name is close."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""

"""The options of groups, given in the settings or as arguments, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .arguments import shown
from .keys import SECONDS, nearest, positive

__all__ = ("Options", "check", "problems")


class Options(NamedTuple):
    """What a group does beside passing messages on.

    Args:
        history: How many of the latest messages the group keeps; 0: none.
        ttl: Seconds for which the group keeps them.
        presence: Whether the members can see one another.
    """

    history: int = 0
    ttl: float = 300.0
    presence: bool = True


_VALID: dict[str, tuple[Callable[[Any], bool], str]] = {
    "history": (
        lambda value: type(value) is int and 0 <= value < 1 << 31,
        "a whole number of at least 0",
    ),
    "ttl": (positive, SECONDS),
    "presence": (lambda value: type(value) is bool, "a bool"),
}


def check(given: Mapping[str, Any]) -> None:
    """Check options that were given as arguments; None means not given.

    Raises:
        ValueError: An option is out of its range; the message names it.
    """
    for name, value in given.items():
        valid, expected = _VALID[name]
        if value is not None and not valid(value):
            raise ValueError(f"{name} must be {expected}, not {shown(value)}")


def problems(groups: Any) -> list[str]:
    """Return all that is wrong with ``DWEBSOCKET["GROUPS"]``."""
    if not isinstance(groups, Mapping):
        return [f"DWEBSOCKET['GROUPS'] must be a dict, not {type(groups).__name__}."]
    found = []
    for name, given in groups.items():
        where = f"DWEBSOCKET['GROUPS'][{shown(name)}]"
        if not isinstance(name, str) or not name:
            found.append(f"{where}: a group's name (or 'prefix*') must be a str.")
        if not isinstance(given, Mapping):
            found.append(f"{where} must be a dict, not {type(given).__name__}.")
        else:
            found += [_problem(where, *item) for item in given.items()]
    return [message for message in found if message]


def _problem(where: str, option: Any, value: Any) -> str:
    """Return a message about a wrong option; "" if the option is right."""
    if option not in _VALID:
        hint = nearest(str(option).lower(), _VALID)
        return f"{where} has no option {shown(option)}.{hint}"
    valid, expected = _VALID[option]
    if valid(value):
        return ""
    return f"{where}[{option!r}] must be {expected}, not {shown(value)}."

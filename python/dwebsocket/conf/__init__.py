"""The settings: one dict ``DWEBSOCKET``, read when needed and never at import."""

from __future__ import annotations

from .deployment import Danger, dangers
from .keys import Key, nearest
from .values import (
    DEFAULTS,
    KEYS,
    OLD_NAMES,
    OVERFLOW,
    Profile,
    Settings,
    acceptable,
    check_overrides,
    problems,
    profile,
    settings,
)

__all__ = (
    "DEFAULTS",
    "KEYS",
    "OLD_NAMES",
    "OVERFLOW",
    "Danger",
    "Key",
    "Profile",
    "Settings",
    "acceptable",
    "check_overrides",
    "dangers",
    "nearest",
    "problems",
    "profile",
    "settings",
)

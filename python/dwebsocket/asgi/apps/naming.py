"""The names of applications in the log."""

from __future__ import annotations

from typing import Any

__all__ = ("named",)


def named(app: Any) -> Any:
    """Return the class or function that stands for an application.

    For a consumer of Channels, that is its class.
    """
    found = getattr(app, "consumer_class", None)
    if found is None:
        found = app if hasattr(app, "__qualname__") else type(app)
    return found

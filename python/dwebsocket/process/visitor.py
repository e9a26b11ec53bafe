"""Words for the visitor of a request, for the log."""

from __future__ import annotations

from typing import Any

from django.utils.functional import empty

from .reporting import shown

__all__ = ("visitor",)


def visitor(request: Any) -> str:
    """Return a visitor's user and address, such as ``user 3 at 192.0.2.7``.

    The user is named by its primary key, and only if the request has read it already:
    a line of the log costs no query.

    Args:
        request: The request, or REST framework's wrapper of it.
    """
    while "_request" in getattr(request, "__dict__", ()):
        request = request.__dict__["_request"]
    address = shown(request.META.get("REMOTE_ADDR") or "an unknown address")
    return f"{_user(request)} at {address}"


def _user(request: Any) -> str:
    user = getattr(request, "__dict__", {}).get("user")
    noted = getattr(user, "__dict__", {})
    if "_wrapped" in noted:
        user = noted["_wrapped"]
    if user is None or user is empty:
        return "a visitor"
    key = getattr(user, "pk", None)
    return "a guest" if key is None else f"user {shown(key)}"

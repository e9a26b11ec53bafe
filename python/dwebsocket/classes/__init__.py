"""Classes whose methods handle WebSockets: :class:`WebSocketView` and :func:`on`."""

from __future__ import annotations

from .typed import on
from .view import WebSocketView

__all__ = ("WebSocketView", "on")

"""From a WSGI request to a running view: the socket is taken from the server."""

from __future__ import annotations

from .handoff import hand_over
from .inline import accept

__all__ = ("accept", "hand_over")

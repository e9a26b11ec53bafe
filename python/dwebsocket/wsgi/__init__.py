"""Takes the socket of a WSGI request from the server, and starts the view."""

from __future__ import annotations

from .handoff import hand_over, too_late
from .inline import accept

__all__ = ("accept", "hand_over", "too_late")

"""How a WebSocket waits where it may not block the thread."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ("Port",)


class Port(Protocol):
    """Receives and sends cooperatively, for one connection.

    Without one (None), a WebSocket calls the engine, which blocks the thread.
    """

    def receive(self, timeout: float | None = None, /) -> str | bytes | None:
        """Do as the engine's ``receive``."""

    def offer(self, message: Any, binary: bool | None, overflow: str, /) -> bool:
        """Do as the engine's ``send`` without waiting, and note whose send it is."""

    def send(self, message: Any, binary: bool | None, timeout: float | None, /) -> bool:
        """Do as the engine's ``send`` with "block"."""

    def is_served(self) -> bool:
        """Return whether the caller serves this connection alone."""

    def turns(self) -> int:
        """Return how often the caller has turned from connection to connection."""

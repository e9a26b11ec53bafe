"""The interface by which a WebSocket waits without blocking the thread."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ("Port",)


class Port(Protocol):
    """Receives and sends cooperatively, for one connection.

    A WebSocket without a port (None) calls the engine, which blocks the thread.
    """

    def receive(self, timeout: float | None, /) -> str | bytes | None:
        """Receive a message, as the engine's ``receive`` does."""

    def offer(self, message: Any, binary: bool | None, overflow: str, /) -> bool:
        """Send as the engine's ``send`` does, without waiting; note the sender."""

    def send(
        self,
        message: Any,
        binary: bool | None,
        overflow: str,
        timeout: float | None,
        /,
    ) -> bool:
        """Send as the engine's ``send`` does with "block" or "auto"."""

    def is_served(self) -> bool:
        """Return whether the caller serves only this connection."""

    def runs_view(self) -> bool:
        """Return whether the calling thread runs a handler of this connection."""

    def turns(self) -> int:
        """Return how often the caller has switched from one connection to another."""

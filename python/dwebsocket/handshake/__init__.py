"""The opening handshake: whether a request may become a WebSocket."""

from __future__ import annotations

"""The user of a connection, and whether the login of the handshake still holds."""

from __future__ import annotations

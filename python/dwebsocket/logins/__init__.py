"""The user of a connection, and checks that the login of the handshake still holds."""

from __future__ import annotations

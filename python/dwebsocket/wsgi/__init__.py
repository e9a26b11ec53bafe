"""From a WSGI request to a running view: the socket is taken from the server."""

from __future__ import annotations

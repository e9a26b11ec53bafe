"""Black-box tests: real WSGI servers, a Django site, and clients on plain sockets."""

from __future__ import annotations

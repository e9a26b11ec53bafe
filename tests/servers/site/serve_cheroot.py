"""Cheroot with one thread."""

from __future__ import annotations

import contextlib
import sys

from cheroot.wsgi import Server

from .wsgi import application

server = Server(("127.0.0.1", int(sys.argv[1])), application, numthreads=1)
with contextlib.suppress(KeyboardInterrupt):
    server.safe_start()

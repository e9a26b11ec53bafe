"""Cheroot with one thread."""

from __future__ import annotations

import sys

from cheroot.wsgi import Server

from .wsgi import application

server = Server(("127.0.0.1", int(sys.argv[1])), application, numthreads=1)
try:
    server.safe_start()
finally:
    server.stop()

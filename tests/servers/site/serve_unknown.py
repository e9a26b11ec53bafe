"""A WSGI server that shows its socket to nobody."""

from __future__ import annotations

import io
import sys
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, make_server

from .wsgi import application


class Handler(WSGIRequestHandler):
    """Hands the application a body that has been read already."""

    def handle(self) -> None:
        """Serve one request, as wsgiref does, with such a body."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.parse_request():
            return
        size = int(self.headers.get("Content-Length") or 0)
        body = io.BytesIO(self.rfile.read(size))
        environ = self.get_environ()
        handler = ServerHandler(body, self.wfile, self.get_stderr(), environ)
        handler.request_handler = self  # type: ignore[attr-defined]
        handler.run(self.server.get_app())  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


with make_server(
    "127.0.0.1", int(sys.argv[1]), application, handler_class=Handler
) as server:
    server.serve_forever()

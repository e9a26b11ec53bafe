"""A Django site on a real server with real sockets, inside the test's process."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.test import override_settings
from django.urls import path
from websockets.sync.client import ClientConnection, connect


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Site:
    """A site that serves views by path until :meth:`stop`.

    Args:
        views: The views.
        settings: Settings that apply until then.
    """

    def __init__(self, views: dict[str, Any], settings: dict[str, Any]) -> None:
        patterns = [path(route, view) for route, view in views.items()]
        urlconf = type("Urls", (), {"urlpatterns": patterns})
        self._settings = override_settings(ROOT_URLCONF=urlconf, **settings)
        self._settings.enable()
        # Errors that the server would print; each one fails the test.
        self.errors: list[BaseException] = []
        self._server = ThreadedWSGIServer(("127.0.0.1", 0), _QuietHandler)
        self._server.handle_error = self._note_error  # type: ignore[method-assign]
        self._server.set_app(WSGIHandler())
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self._stopped = False

    def _note_error(self, request: Any, client_address: Any) -> None:
        import sys

        error = sys.exc_info()[1]
        assert error is not None
        self.errors.append(error)

    def stop(self) -> None:
        """Stop serving. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._settings.disable()
        assert not self.errors, self.errors

    @contextlib.contextmanager
    def connect(self, route: str = "", **options: Any) -> Iterator[ClientConnection]:
        """Open a WebSocket; it is closed at the end of the block."""
        options.setdefault("open_timeout", 10)
        options.setdefault("close_timeout", 10)
        with connect(f"ws://127.0.0.1:{self.port}/{route}", **options) as connection:
            yield connection

    def request(
        self, route: str = "", method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Make an HTTP request; return the response and its body.

        Args:
            route: The path without its slash.
            method: The method.
            headers: The headers; their names have _ for -.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/{route}", headers=names)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body


#: The headers of a handshake, for requests that must be refused.
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec_WebSocket_Version": "13",
}

__all__ = ("HANDSHAKE", "Site")

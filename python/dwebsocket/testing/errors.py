"""The exceptions of tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dwebsocket.exceptions import WebSocketException

__all__ = ("ViewNotEnded", "WebSocketRefused")


class WebSocketRefused(WebSocketException):
    """The site has answered the handshake with a plain HTTP response.

    Args:
        response: The response, as Django's test client returns it.
        body: Its whole content.
    """

    def __init__(self, response: Any, body: bytes) -> None:
        self.response = response
        #: The HTTP status: 403, say.
        self.status: int = response.status_code
        #: The headers; names are compared without regard to case.
        self.headers: Mapping[str, str] = response.headers
        #: The content.
        self.body = body
        super().__init__(f"refused with {self.status}: {self.text[:500].strip()}")

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become U+FFFD."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the body, parsed as JSON.

        Raises:
            ValueError: The body is not JSON.
        """
        return json.loads(self.body)


class ViewNotEnded(WebSocketException, AssertionError):
    """A view still runs although its client has left; the message says where."""

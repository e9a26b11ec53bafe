"""What a view tells the test, over a datagram socket that the test reads."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from django.http import HttpRequest


def plain(value: Any) -> Any:
    """Return a value in a form that survives JSON and keeps str and bytes apart."""
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return {"repr": repr(value)}


def tell(key: str, event: str, value: Any = None) -> None:
    """Send one event under the test's key."""
    message = json.dumps([key, event, plain(value)]).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(os.environ["SITE_REPORTS"])
        # gevent returns 0 where the test's queue is full for a second time.
        while not sock.send(message):
            pass


class Report:
    """Tells the test of one request, under its ``?key=``."""

    def __init__(self, request: HttpRequest) -> None:
        self.key = request.GET.get("key", "")

    def __call__(self, event: str, value: Any = None) -> None:
        """Send one event."""
        if self.key:
            tell(self.key, event, value)

    def outcome(self, event: str, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Make a call and tell what came of it; return its value."""
        try:
            value = call(*args, **kwargs)
        except Exception as error:
            names = [c.__name__ for c in type(error).__mro__[:-2]]
            self(event, {"raised": names, "text": str(error)})
            return None
        self(event, value)
        return value

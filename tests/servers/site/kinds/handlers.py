"""Classes with handlers."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import PermissionDenied

from dwebsocket import WebSocketView
from tests.servers.site.report import Report

from .common import BOUNDED, FLOOD, LARGE, TALK, about


class Echo(WebSocketView[Any]):
    """Send back what comes."""

    def on_message(self, message: Any) -> None:
        """Send it back."""
        self.websocket.send(message)


class Talk(WebSocketView[Any]):
    """Do what the messages say; report the beginning and the end."""

    def on_open(self) -> None:
        """Report the request."""
        self.report = Report(self.request)
        self.report("open", about(self.request, self.websocket))

    def on_message(self, message: Any) -> None:
        """Do what it says."""
        command = json.loads(message)
        kind = command["do"]
        if kind == "return":
            self.websocket.close()
        elif kind == "close":
            self.websocket.close(command["code"], command["reason"])
        elif kind == "raise":
            raise RuntimeError("on purpose")
        elif kind == "refuse":
            raise PermissionDenied("on purpose")
        elif kind == "join":
            self.websocket.join(command["group"])
            self.websocket.send("joined")
        elif kind == "pour":
            self.report("poured", self._pour(command["size"]))

    def _pour(self, size: int) -> bool:
        """Send until it fails, to a peer that reads nothing."""
        message = b"x" * size
        return all(self.websocket.send(message) for _ in range(FLOOD))

    def on_close(self, code: int) -> None:
        """Report the end."""
        self.report("closed", [code, self.websocket.close_reason])
        self.report("end")


class Bounded(Echo):
    """Join a group, and lose its oldest messages when the peer is slow."""

    def on_open(self) -> None:
        """Join."""
        self.websocket.join(self.request.GET["group"])
        Report(self.request)("open")

    def on_close(self, code: int) -> None:
        """Report what was lost."""
        report = Report(self.request)
        report("dropped", self.websocket.stats["dropped_messages"])


VIEWS = {
    "echo": Echo.as_view(),
    "large": Echo.as_view(**LARGE),
    "talk": Talk.as_view(**TALK),
    "bounded": Bounded.as_view(**BOUNDED),
}

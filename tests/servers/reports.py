"""The test's end of the datagram socket on which views report."""

from __future__ import annotations

import json
import queue
import socket
import threading
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

from .client import TIMEOUT


class Channel:
    """The reports of one test, under a key of its own."""

    def __init__(self, inbox: queue.Queue[tuple[str, Any]]) -> None:
        self.key = ""
        #: Where the scripted views of the kind that is tested are.
        self.prefix = ""
        self._inbox = inbox
        self._early: list[tuple[str, Any]] = []

    def next(self, timeout: float = TIMEOUT) -> tuple[str, Any]:
        """Return the next event and its value."""
        if self._early:
            return self._early.pop(0)
        return self._inbox.get(timeout=timeout)

    def expect(self, event: str, timeout: float = TIMEOUT) -> Any:
        """Return the value of an event, keeping others for later."""
        for number, (name, value) in enumerate(self._early):
            if name == event:
                del self._early[number]
                return value
        while True:
            try:
                name, value = self._inbox.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(
                    f"no report of {event!r}; there were {self._early}"
                ) from None
            if name == event:
                return value
            self._early.append((name, value))

    def none(self) -> bool:
        """Return whether nothing waits."""
        return not self._early and self._inbox.empty()


class Reports:
    """Receives every view's reports and hands them out by key."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "reports")
        self._inboxes: dict[str, queue.Queue[tuple[str, Any]]]
        self._inboxes = defaultdict(queue.Queue)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._sock.bind(self.path)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            data = self._sock.recv(1 << 20)
            if not data:
                return
            key, event, value = json.loads(data)
            self._inboxes[key].put((event, restore(value)))

    def channel(self) -> Channel:
        """Return a channel with a new key."""
        key = uuid.uuid4().hex
        channel = Channel(self._inboxes[key])
        channel.key = key
        return channel

    def close(self) -> None:
        """Stop receiving."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.path)
        self._thread.join()
        self._sock.close()


def restore(value: Any) -> Any:
    """Undo ``tests.servers.site.report.plain``."""
    if isinstance(value, list):
        return [restore(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"bytes"}:
            return value["bytes"].encode("latin-1")
        return {name: restore(item) for name, item in value.items()}
    return value

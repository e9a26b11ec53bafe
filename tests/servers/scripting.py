"""Runs a sequence of calls inside a view and returns what came of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from . import frames
from .client import WsClient
from .harness import Server
from .reports import Channel

#: The ways in which a peer goes.
GOING: dict[str, Callable[[WsClient], None]] = {
    "close": lambda client: client.sendall(frames.encode_close(1000)),
    "fin": lambda client: client.drop(),
    "rst": lambda client: client.reset(),
}


#: Runs a test over each kind of view: those that are asynchronous make the same calls.
kinds = pytest.mark.parametrize("report", ["def", "async def"], indirect=True)


class Script:
    """A scripted view with its client.

    Args:
        server: Where.
        report: The test's channel.
        ops: The calls: each a list of a name and arguments.
        path: Which scripted view.
        headers: More headers of the handshake.
    """

    def __init__(
        self,
        server: Server,
        report: Channel,
        *ops: list[Any],
        path: str = "/script",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._report = report
        self.ops = ops
        self._known: dict[int, Any] = {}
        query = urlencode({"key": report.key, "ops": json.dumps(ops)})
        self.client = server.open(f"{report.prefix}{path}?{query}", headers)

    def outcome(self, number: int) -> Any:
        """Wait for the outcome of one call and return it."""
        if number not in self._known:
            event = f"{number} {self.ops[number][0]}"
            self._known[number] = self._report.expect(event)
        return self._known[number]

    def outcomes(self) -> list[Any]:
        """Wait for the script's end and return the outcome of every call."""
        self._report.expect("end")
        return [self.outcome(number) for number in range(len(self.ops))]


def raised(outcome: Any, name: str) -> bool:
    """Return whether a call raised the exception, or one of its subclasses."""
    return isinstance(outcome, dict) and name in outcome.get("raised", [])

"""What the tests of classes share: classes, a site, and what clients do."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.dispatch import Signal
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from dwebsocket import WebSocketView, signals
from tests.python.live import Site

TIMEOUT = 20


class Echo(WebSocketView):
    def on_message(self, message):
        self.websocket.send(message)


class AsyncEcho(WebSocketView):
    async def on_message(self, message):
        await self.websocket.send(message)


class Noted(Echo):
    """Notes what happens, in a list of its subclass."""

    notes: list
    ended: threading.Event

    def on_open(self):
        self.notes.append("open")

    def on_message(self, message):
        self.notes.append(message)
        super().on_message(message)

    def on_close(self, code):
        self.notes.append(code)
        self.ended.set()


class AsyncNoted(AsyncEcho):
    """Does the same in coroutine functions."""

    notes: list
    ended: threading.Event

    async def on_open(self):
        self.notes.append("open")

    async def on_message(self, message):
        self.notes.append(message)
        await super().on_message(message)

    async def on_close(self, code):
        self.notes.append(code)
        self.ended.set()


def noted(base: type[WebSocketView[Any]] = Noted, **attributes: Any) -> Any:
    """Return a subclass with notes of its own."""
    attributes |= {"notes": [], "ended": threading.Event()}
    return type("Noted", (base,), attributes)


def served(
    site: Callable[..., Site], cls: type[WebSocketView[Any]], **initkwargs: Any
) -> Site:
    """Serve a class at the root of a site."""
    return site({"": cls.as_view(**initkwargs)})


def echoes(connection: ClientConnection, *messages: str) -> None:
    """Send messages, "x" by default; each comes back before the next one is sent."""
    for message in messages or ("x",):
        connection.send(message)
        answer = connection.recv(timeout=TIMEOUT)
        assert answer == message, answer


def numbers(count: int) -> list[str]:
    """Return messages that differ."""
    return [str(number) for number in range(count)]


def send_all(connection: ClientConnection, *messages: str) -> None:
    """Send messages, as far as the server has not closed the connection meanwhile."""
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            connection.send(message)


def received(connection: ClientConnection) -> Any:
    """Return what the next message says in JSON."""
    return json.loads(connection.recv(timeout=TIMEOUT))


def code_of(connection: ClientConnection) -> int | None:
    """Return the close code that the server sends."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            connection.recv(timeout=TIMEOUT)
    return connection.close_code


@contextlib.contextmanager
def receiving(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    """Have a function get a signal."""
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@contextlib.contextmanager
def closing() -> Iterator[threading.Event]:
    """Return an event that is set when a connection has ended."""
    closed = threading.Event()

    def note(**kwargs: Any) -> None:
        closed.set()

    with receiving(signals.websocket_closed, note):
        yield closed


class Failing:
    """A project whose hook, or receiver of messages, fails from :meth:`begin` on.

    Args:
        mistake: What fails: "hook" or "receiver".
        monkeypatch: Takes the hook and the receivers back.
    """

    def __init__(self, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mistake = mistake
        self._fails = False
        self._outside = threading.Event()
        #: The codes of connections that have ended.
        self.heard: list[int] = []
        monkeypatch.setattr("dwebsocket.context._hooks", [lambda request: self])
        for signal, receiver in (
            (signals.websocket_message, self._hear),
            (signals.websocket_closed, self._note),
        ):
            monkeypatch.setattr(signal, "receivers", [])
            signal.connect(receiver, weak=False)

    def begin(self) -> None:
        """Fail from now on; first, wait for the handler of an earlier message."""
        assert self._outside.wait(TIMEOUT)
        self._fails = True

    def __enter__(self) -> None:
        if self._fails and self._mistake == "hook":
            raise ValueError("wrong on purpose")
        self._outside.clear()

    def __exit__(self, *exc_info: object) -> None:
        self._outside.set()

    def _hear(self, **kwargs: Any) -> None:
        if self._fails and self._mistake == "receiver":
            raise SystemExit

    def _note(self, code: int, **kwargs: Any) -> None:
        self.heard.append(code)

"""What a WebSocket receives, and how each dialect tells the end."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

from . import _engine, databases
from .exceptions import ReceiveTimeout, WebSocketClosed, WebSocketEOF
from .parsing import from_json
from .protocol import Protocol
from .signals import emit, websocket_message

__all__ = ("Receiving",)

#: How often the end may be asked for at full speed, and the pause from then on: a loop
#: that overlooks the end must not take the processor from everybody else.
_PATIENCE = 3
_PAUSE = 0.075

_end_lock = threading.Lock()


def _renew_lock() -> None:
    """Forget a lock that a thread may hold which a forked child does not have."""
    global _end_lock
    _end_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)

_in_use = databases.in_use.get


class Receiving:
    """The receiving half of :class:`~dwebsocket.websocket.WebSocket`."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_closed",
        "_connection",
        "_ends",
        "_modern",
        "_receive",
        "handle",
    )

    def __init__(self, connection: _engine.Connection, modern: bool, port: Any) -> None:
        self._connection = connection
        self._receive = (connection if port is None else port).receive
        self._modern = modern
        #: The code with which this side has closed, 0 before.
        self._closed = 0
        #: How often the end was met.
        self._ends = 0
        #: Old code's callback, called with each message's opcode and data.
        self.handle: Any = None

    def wait(self, timeout: float | None = None) -> Any:
        """Return the next message; block until there is one.

        Args:
            timeout: Seconds to wait at most; None (or less than 0): no limit.

        Returns:
            The message; None when the time is up, and at the end.

        Raises:
            EOFError: In the classic dialect, when asked again after the end.
        """
        if self._closed:
            return self._at_end()
        if timeout is not None and timeout < 0:
            timeout = None
        if _in_use():
            message = databases.receive(self._receive, timeout)
        else:
            message = self._receive(timeout)
        if message is None:
            message = self._nothing(timeout)
        elif self.handle is None and not websocket_message.receivers:
            return message
        if message is not None:
            self._note_message(message)
        return message

    def read(self, fallback: Any = None) -> Any:
        """Return the next message if there is one, else ``fallback``; never block.

        Raises:
            EOFError: In the classic dialect, when asked again after the end.
        """
        if self._closed:
            return fallback if self._modern else self._refuse()
        message = self._receive(0)
        if message is None:
            if not self._connection.ended:
                return fallback
            message = self._nothing(0)
            if message is None and self._modern:
                return fallback
        if message is not None:
            self._note_message(message)
        return message

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next message; block until there is one.

        Raises:
            WebSocketClosed: The connection is closed and every message read.
            ReceiveTimeout: (a TimeoutError) ``timeout`` seconds have passed.
        """
        if not self._closed:
            if timeout is not None and timeout < 0:
                timeout = None
            if _in_use():
                message = databases.receive(self._receive, timeout)
            else:
                message = self._receive(timeout)
            if message is None and timeout is not None and self._connection.ended:
                message = self._receive(0)
            if message is not None:
                if websocket_message.receivers:
                    emit(websocket_message, self, message=message)
                return message
            if not self._closed and not self._connection.ended:
                raise ReceiveTimeout(f"no message within {timeout} seconds")
        self._ends = self._ends or 1
        code = self._connection.close_code or self._closed or 1006
        raise WebSocketClosed(code, self._connection.close_reason)

    def receive_json(self, timeout: float | None = None) -> Any:
        """Return the next message, parsed as JSON.

        Raises:
            WebSocketClosed, ReceiveTimeout: As :meth:`receive` does.
            ValueError: The message is not JSON, or nested deeper than 128 levels.
        """
        return from_json(self.receive(timeout))

    def has_messages(self) -> bool:
        """Return whether a message waits (classic dialect: or the final None)."""
        return self.count_messages() > 0

    def count_messages(self) -> int:
        """Return how many messages wait (classic dialect: the final None is one)."""
        if self._modern:
            return 0 if self._closed else self._connection.pending
        if self._closed or self._ends:
            self._refuse()
        ended = self._connection.ended
        return self._connection.pending + ended

    def can_read(self, timeout: float | None = 0.0) -> bool:
        """Return whether a message or the end is there, within a time."""
        if self._closed or self._connection.ended or self._connection.pending:
            return True
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def __iter__(self) -> Iterator[Any]:
        """Yield messages until the end (classic dialect: and the final None)."""
        wait = self.wait
        while True:
            message = wait()
            if message is None:
                if not self._modern:
                    yield None
                return
            yield message

    def _nothing(self, timeout: float | None) -> Any:
        """Tell a time-out from the end, after a receive without a message."""
        if timeout is None or self._closed:
            return self._at_end()
        if not self._connection.ended:
            return None
        # What came between the end of the time and the end of the connection.
        message = self._receive(0)
        return self._at_end() if message is None else message

    def _at_end(self) -> None:
        """Return the None of the end, or raise for having been asked again."""
        with _end_lock:
            self._ends += 1
            ends = self._ends
        if self._closed or self._modern:
            self._brake(ends)
        elif ends > 1:
            self._brake(ends - 1)
            raise WebSocketEOF("the WebSocket has been closed")
        elif self.handle is not None:
            self.handle(Protocol.OPCODE_CLOSE, None)

    def _refuse(self) -> Any:
        with _end_lock:
            self._ends += 1
            ends = self._ends
        self._brake(ends - 1)
        raise WebSocketEOF("the WebSocket has been closed")

    @staticmethod
    def _brake(asked: int) -> None:
        if asked >= _PATIENCE:
            time.sleep(_PAUSE)

    def _note_message(self, message: str | bytes) -> None:
        if websocket_message.receivers:
            emit(websocket_message, self, message=message)
        if self.handle is not None:
            self._call_handle(message)

    def _call_handle(self, message: str | bytes) -> None:
        if isinstance(message, str):
            opcode = Protocol.OPCODE_TEXT
        else:
            opcode = self._opcode(message)
        self.handle(opcode, message)

    def _opcode(self, message: bytes) -> int:
        if not self._modern:
            try:
                message.decode()
            except UnicodeDecodeError:
                return Protocol.OPCODE_BINARY
            return Protocol.OPCODE_TEXT
        return Protocol.OPCODE_BINARY

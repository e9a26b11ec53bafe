"""The receiving methods of a WebSocket, and how each dialect signals the end."""

from __future__ import annotations

import logging
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from dwebsocket import _engine
from dwebsocket.conf.arguments import seconds
from dwebsocket.exceptions import (
    PeerGone,
    ReceiveTimeout,
    WebSocketClosed,
    WebSocketEOF,
)
from dwebsocket.process import databases, fork
from dwebsocket.signals import emit, websocket_message

from .legacy import Protocol
from .parsing import from_json

__all__ = ("Receiving", "Shown")

T = TypeVar("T")

#: How many calls after the end return at full speed, and the pause in seconds of each
#: later call: a loop that overlooks the end must leave the processor to other views.
_PATIENCE = 3
_PAUSE = 0.075
#: A view is ended only after this many calls in a row on a closed connection.
_VAIN_CALLS = 5
#: The longest that poll() waits, in milliseconds.
_POLL_LIMIT = 2**31 - 1

logger = logging.getLogger("dwebsocket.view")
_PACKAGE = __name__.partition(".")[0]

_end_lock = fork.Lock()

_in_use = databases.in_use.get


def _tell_swallowed() -> None:
    """Log which code has caught PeerGone: only a fix of that code can end the view."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    logger.warning(
        "A WebSocket's peer has gone, and %s.%s (line %d) goes on all the same: it has "
        "caught PeerGone. Write 'except Exception:' instead of 'except:', or ask "
        "is_closed().",
        frame.f_globals["__name__"],
        frame.f_code.co_name,
        frame.f_lineno,
    )


def _no_constant(name: str) -> Any:
    # NaN and Infinity are extensions of Python; send_json() refuses them, too.
    raise ValueError(f"{name} is not a JSON value")


class Shown(Generic[T]):
    """A property that an object's own attribute may hide: old code sets ``ws.id``.

    Args:
        read: Returns the value for an object.
    """

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        """Return the value; when read from the class, return this property itself."""
        if instance is None:
            return self  # type: ignore[return-value]
        return self._read(instance)


class Receiving:
    """The receiving half of :class:`~dwebsocket.websocket.WebSocket`."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_closed",
        "_connection",
        "_ends",
        "_gone_timeout",
        "_modern",
        "_owner",
        "_port",
        "_receive",
        "_send",
        "_told_gone",
        "_vain_calls",
        "_vain_since",
        "_vain_turns",
        "handle",
    )

    def __init__(self, connection: _engine.Connection, modern: bool, port: Any) -> None:
        self._use(connection, port)
        self._modern = modern
        #: The close code that this side has sent; 0 before.
        self._closed = 0
        #: How many calls have met the end.
        self._ends = 0
        #: Old code's callback, called with each message's opcode and data.
        self.handle: Any = None
        #: The id of the view's thread (greenlet).
        self._owner = 0
        #: The setting ``GONE_TIMEOUT``.
        self._gone_timeout: float | None = None
        #: The view's latest calls on a closed connection: how many in a row, since
        #: when, and how often the thread had switched to other connections by then.
        self._vain_calls = 0
        self._vain_since = 0.0
        self._vain_turns = 0
        #: How often PeerGone was raised in the view.
        self._told_gone = 0

    def _use(self, connection: _engine.Connection, port: Any) -> None:
        self._connection = connection
        self._port = port
        if port is None:
            self._receive, self._send = connection.receive, connection.send
        else:
            self._receive, self._send = port.receive, port.offer

    def wait(self, timeout: float | None = None) -> Any:
        """Return the next message; block until there is one.

        Args:
            timeout: Seconds to wait at most, any real number; None, less than 0 or
                infinity: no limit.

        Returns:
            The message; None after the timeout, and at the end.

        Raises:
            TypeError, ValueError: The timeout is not a number, or nan.
            EOFError: In the classic dialect, on a further call after the end.
        """
        if timeout is not None:
            timeout = seconds(timeout)
        if self._closed:
            return self._at_end()
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
            EOFError: In the classic dialect, on a further call after the end.
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
            WebSocketClosed: The connection is closed and every message was read.
            ReceiveTimeout: (a TimeoutError) No message came within ``timeout`` seconds.
        """
        if timeout is not None:
            timeout = seconds(timeout)
        if not self._closed:
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
        self._in_vain()
        code = self._connection.close_code or self._closed or 1006
        raise WebSocketClosed(code, self._connection.close_reason)

    def receive_json(self, timeout: float | None = None) -> Any:
        """Return the next message, parsed as JSON.

        Raises:
            WebSocketClosed, ReceiveTimeout: As :meth:`receive` does.
            ValueError: The message is not JSON, or nested deeper than 128 levels.
        """
        return from_json(self.receive(timeout), parse_constant=_no_constant)

    def has_messages(self) -> bool:
        """Return whether a message waits (classic dialect: or the final None)."""
        return self.count_messages() > 0

    def count_messages(self) -> int:
        """Return how many messages wait (classic dialect: the final None is one)."""
        if self._modern:
            count = 0 if self._closed else self._connection.pending
            if not count and (self._closed or self._connection.ended):
                self._in_vain()
            return count
        if self._closed or self._ends:
            self._refuse()
        ended = self._connection.ended
        count = self._connection.pending
        if ended and not count:
            self._in_vain()
        return count + ended

    def can_read(self, timeout: float | None = 0.0) -> bool:
        """Return whether a message or the end arrives within ``timeout`` seconds."""
        timeout = seconds(timeout)
        if self._closed or self._connection.ended or self._connection.pending:
            return True
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        limit = None if timeout is None else min(timeout * 1000, _POLL_LIMIT)
        return bool(poll.poll(limit))

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
        # A message may have come after the timeout and before the connection's end.
        message = self._receive(0)
        return self._at_end() if message is None else message

    def _at_end(self) -> None:
        """Return the None of the end.

        Raises:
            EOFError: In the classic dialect, on a second call, unless this side closed.
        """
        with _end_lock:
            self._ends += 1
            ends = self._ends
        self._in_vain()
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
        self._in_vain()
        self._brake(ends - 1)
        raise WebSocketEOF("the WebSocket has been closed")

    def _in_vain(self) -> None:
        """Count a call on a closed connection; end a view that makes no other calls.

        Calls count only in the view's own thread. The count begins again when this
        thread has sent to another connection or to a group.

        Raises:
            PeerGone: The peer has gone, and the view has overlooked it.
        """
        if self._gone_timeout is None or self._owner != threading.get_ident():
            return
        port = self._port
        turns = _engine.turns() if port is None else port.turns()
        now = time.monotonic()
        if not self._vain_calls or turns != self._vain_turns:
            self._vain_calls, self._vain_since, self._vain_turns = 1, now, turns
            return
        self._vain_calls += 1
        passed = now - self._vain_since
        if self._vain_calls >= _VAIN_CALLS and passed >= self._gone_timeout:
            # Count anew, so that calls in a "finally" do not raise at once.
            self._vain_calls = 0
            self._told_gone += 1
            if self._told_gone == 2:
                _tell_swallowed()
            raise PeerGone(f"the peer has been gone for {passed:.0f} seconds")

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

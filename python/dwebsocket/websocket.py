"""The WebSocket that a view talks to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

from . import _engine, databases
from .exceptions import ReceiveTimeout, WebSocketClosed, WebSocketEOF
from .protocol import Protocol

__all__ = ("WebSocket",)

Data: TypeAlias = "str | bytes | bytearray | memoryview"

#: A close reason's limit: a control frame's 125 bytes less the code (RFC 6455 5.5).
_REASON_BYTES = 123
#: How often the end may be asked for at full speed, and the pause from then on: a loop
#: that overlooks the end must not take the processor from everybody else.
_PATIENCE = 3
_PAUSE = 0.075
#: Failed sends in a row, no message read between, that show that nobody is reading.
_UNREAD_SENDS = 16

_end_lock = threading.Lock()
_in_use = databases.in_use.get


class WebSocket:
    """One connection, in one of two dialects.

    The classic dialect is that of dwebsocket: text arrives as ``bytes``, and the
    conversation ends with one None, after which asking for more raises
    :exc:`EOFError`. In the modern one text arrives as ``str``, and ``wait()`` returns
    None from the end on. :meth:`receive` is the same in both and never ambiguous.

    Safe to use from any thread, also after the view has returned. Attributes can be set
    on it; it hashes and compares by identity.

    Args:
        connection: The engine's connection.
        modern: Which dialect to speak.
        overflow: What a full outbox does (see the setting ``OVERFLOW``).
        send_timeout: How long a send of the view's own waits for room.
        subprotocol: The subprotocol agreed on, None if none.
        remote_address: The client's address and port.
        port: How to wait, where that is not by blocking the thread.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_binary",
        "_closed",
        "_connection",
        "_ends",
        "_failed",
        "_failed_at",
        "_modern",
        "_overflow",
        "_owner",
        "_port",
        "_protocol",
        "_receive",
        "_send_timeout",
        "handle",
        "remote_address",
        "subprotocol",
    )

    def __init__(
        self,
        connection: _engine.Connection,
        *,
        modern: bool = False,
        overflow: str = "auto",
        send_timeout: float = 30.0,
        subprotocol: str | None = None,
        remote_address: tuple[str, int] = ("", 0),
        port: Any = None,
    ) -> None:
        self._connection = connection
        self._port = port
        self._receive = (connection if port is None else port).receive
        self._modern = modern
        # What bytes are sent as: the engine decides by their content, or binary.
        self._binary = True if modern else None
        self._overflow = overflow
        self._send_timeout = send_timeout
        self._closed = False
        self._ends = 0
        self._failed = 0
        self._failed_at = 0
        self._owner = 0
        self._protocol: Protocol | None = None
        self.subprotocol = subprotocol
        self.remote_address = remote_address
        #: Old code's callback, called with each message's opcode and data.
        self.handle: Any = None

    # Receiving

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
            message = self._nothing()
        if self.handle is not None and message is not None:
            self._call_handle(message)
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
            message = self._nothing()
            if message is None and self._modern:
                return fallback
        if self.handle is not None and message is not None:
            self._call_handle(message)
        return message

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next message; block until there is one.

        Raises:
            WebSocketClosed: The connection is closed and every message read.
            ReceiveTimeout: (a TimeoutError) ``timeout`` seconds have passed.
        """
        if not self._closed:
            if _in_use():
                message = databases.receive(self._receive, timeout)
            else:
                message = self._receive(timeout)
            if message is None and self._connection.ended:
                message = self._receive(0)
            if message is not None:
                return message
            if not self._closed and not self._connection.ended:
                raise ReceiveTimeout(f"no message within {timeout} seconds")
        self._ends = self._ends or 1
        raise WebSocketClosed(self.close_code or 1000, self.close_reason)

    def receive_json(self, timeout: float | None = None) -> Any:
        """Return the next message, parsed as JSON.

        Raises:
            WebSocketClosed, ReceiveTimeout: As :meth:`receive` does.
            ValueError: The message is not JSON.
        """
        return json.loads(self.receive(timeout))

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
        import select

        if self._closed or self._connection.ended or self._connection.pending:
            return True
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
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

    # The end

    def _nothing(self) -> Any:
        """Tell a time-out from the end, after a receive without a message."""
        if self._closed or not self._connection.ended:
            return self._at_end() if self._closed else None
        # What came between that receive and the end.
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

    # Sending

    def send(
        self,
        message: Data,
        binary: bool | None = None,
        *,
        overflow: str | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Send a message; on a closed connection do nothing.

        Args:
            message: ``str`` goes out as text; ``bytes`` as binary in the modern
                dialect, as text where it is valid UTF-8 in the classic one.
            binary: True: as a binary message, False: as text, whatever the type.
            overflow: What to do when the outbox is full, instead of the setting.
            timeout: Seconds that "block" waits, instead of ``SEND_TIMEOUT``.

        Returns:
            Whether the message is on its way.

        Raises:
            TypeError: The message is neither str nor bytes.
        """
        if binary is None and message.__class__ is not str:
            binary = self._binary if not isinstance(message, str) else None
        if overflow is None and self._connection.send(message, binary, "refuse"):
            return True
        return self._send_full(message, binary, overflow or self._overflow, timeout)

    def _send_full(
        self, message: Data, binary: bool | None, overflow: str, timeout: float | None
    ) -> bool:
        """Send to a connection that is closed, or whose outbox is full."""
        connection = self._connection
        if timeout is None:
            timeout = self._send_timeout
        own = overflow == "auto" and self._owner == threading.get_ident()
        if self._closed or connection.ended:
            sent = False
            # For its TypeError.
            connection.send(message, binary, "refuse")
        elif overflow == "block" or own:
            if self._port is None:
                sent = connection.send(message, binary, "block", timeout)
            else:
                sent = self._port.send(message, binary, timeout)
            if not sent and own:
                # A peer that reads nothing for so long has lost the conversation.
                sent = connection.send(message, binary, "close")
        else:
            policy = "close" if overflow == "auto" else overflow
            sent = connection.send(message, binary, policy)
        if not sent:
            self._note_failure()
        return sent

    def _note_failure(self) -> None:
        connection = self._connection
        if not (self._closed or connection.ended or connection.close_code):
            return
        taken = connection.stats["received_messages"] - connection.pending
        if taken != self._failed_at:
            self._failed_at, self._failed = taken, 0
        self._failed += 1

    def send_json(self, data: Any, **kwargs: Any) -> bool:
        """Send ``data`` as JSON text.

        Args:
            data: What Django's JSON encoder can encode.
            kwargs: Go to :func:`json.dumps`.
        """
        from django.core.serializers.json import DjangoJSONEncoder

        kwargs.setdefault("cls", DjangoJSONEncoder)
        return self.send(json.dumps(data, **kwargs), False)

    def ping(self, payload: str | bytes = b"") -> bool:
        """Send a ping of at most 125 bytes, beside those that the engine sends.

        Returns:
            Whether it is on its way.
        """
        if isinstance(payload, str):
            payload = payload.encode()
        return self._connection.ping(payload)

    # Closing

    def close(self, code: int | None = None, reason: str | bytes | None = None) -> None:
        """Close the connection; what was sent before goes out first. Idempotent.

        Args:
            code: The close code, 1000 by default (RFC 6455 section 7.4).
            reason: Why, in at most 123 bytes of UTF-8; what is over is cut off.

        Raises:
            ValueError: The code is not one that may be sent.
        """
        if self._closed:
            return
        if isinstance(reason, str):
            reason = reason.encode(errors="replace")
        text = bytes(reason or b"")[:_REASON_BYTES].decode(errors="ignore")
        # Whoever wakes up from waiting must see that it was this side's doing.
        self._closed = True
        try:
            self._connection.close(1000 if code is None else code, text)
        except ValueError:
            self._closed = False
            raise

    def is_closed(self) -> bool:
        """Return whether the conversation is over.

        Never True while the view has messages to read; in the classic dialect not
        before the final None was read or a send has failed.
        """
        if self._closed or self._ends:
            return True
        if self._modern:
            return self._connection.ended and not self._connection.pending
        return bool(self._failed) and (
            not self._connection.pending
            or not self._failed_at
            or self._failed > _UNREAD_SENDS
        )

    is_close = is_closed

    @property
    def closed(self) -> bool:
        """Whether the conversation is over; setting it to True closes."""
        return self.is_closed()

    @closed.setter
    def closed(self, value: bool) -> None:
        if value:
            self.close()

    @property
    def close_code(self) -> int | None:
        """The close code (RFC 6455 section 7.1.5); None while open."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with it; "" if none."""
        return self._connection.close_reason

    # What there is to know

    @property
    def id(self) -> int:
        """A number that no other connection of this process ever has."""
        return self._connection.id

    @property
    def latency(self) -> float | None:
        """Seconds that the latest keepalive ping took; None before the first."""
        return self._connection.latency

    @property
    def stats(self) -> dict[str, int]:
        """Counters: messages and bytes each way, dropped messages, queue lengths."""
        return self._connection.stats

    @property
    def protocol(self) -> Protocol:
        """Old code's way to ``fileno()`` and the opcodes."""
        if self._protocol is None:
            self._protocol = Protocol(self)
        return self._protocol

    def fileno(self) -> int:
        """Return a descriptor that polls readable while a message or the end waits."""
        return self._connection.fileno()

    def accept_connection(self) -> None:
        """Do nothing: the connection was accepted before the view began."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection.id}>"

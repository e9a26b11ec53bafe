"""The sending methods of a WebSocket, and what happens when the outbox is full."""

from __future__ import annotations

import threading
from typing import Any, TypeAlias

from django.utils.functional import Promise

from dwebsocket import _engine
from dwebsocket.conf import arguments
from dwebsocket.hub.messages import to_json

from .receiving import Receiving

__all__ = ("Data", "Sending")

Data: TypeAlias = "str | bytes | bytearray | memoryview"

_TEXT = (str, Promise)
#: After this many failed sends in a row without a message read between them, the view
#: counts as one that does not read.
_UNREAD_SENDS = 16


class Sending(Receiving):
    """The sending half of :class:`~dwebsocket.websocket.WebSocket`."""

    __slots__ = (
        "_binary",
        "_failed",
        "_failed_at",
        "_overflow",
        "_send_timeout",
    )

    def __init__(
        self,
        connection: _engine.Connection,
        modern: bool,
        port: Any,
        overflow: str,
        send_timeout: float,
    ) -> None:
        super().__init__(connection, modern, port)
        # How bytes are sent: as binary (True), or as the engine decides by their
        # content (None).
        self._binary = True if modern else None
        self._overflow = overflow
        self._send_timeout = send_timeout
        #: Failed sends in a row, and the number of messages read when they began.
        self._failed = 0
        self._failed_at = 0

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
            message: ``str`` is sent as text. ``bytes`` are sent as binary in the modern
                dialect; in the classic one as text if they are valid UTF-8. Halves of
                surrogate pairs become U+FFFD, as when a browser sends them.
            binary: True: send as a binary message; False: as text, whatever the type.
            overflow: What a full outbox does; overrides the setting ``OVERFLOW``.
            timeout: Seconds that this send waits for room; overrides ``SEND_TIMEOUT``.
                Less than 0, or infinity: no limit.

        Returns:
            Whether the message was accepted for sending.

        Raises:
            TypeError: The message is neither str nor bytes.
        """
        if binary is None and message.__class__ is not str:
            binary = self._binary if not isinstance(message, _TEXT) else None
        try:
            if (
                overflow is None
                and timeout is None
                and self._send(message, binary, "refuse")
            ):
                return True
            return self._send_full(message, binary, overflow or self._overflow, timeout)
        except (TypeError, UnicodeEncodeError):
            mended = arguments.message(message)
            if mended is message:
                raise
        return self.send(mended, binary, overflow=overflow, timeout=timeout)

    def _send_full(
        self, message: Data, binary: bool | None, overflow: str, timeout: float | None
    ) -> bool:
        """Send to a connection that is closed, or whose outbox is full."""
        connection = self._connection
        limit = self._send_timeout if timeout is None else arguments.seconds(timeout)
        if self._closed or connection.ended:
            sent = False
            # A wrong type raises TypeError here, too.
            connection.send(message, binary, "refuse")
        elif overflow == "block" or (overflow == "auto" and self._is_served()):
            if self._port is None:
                sent = connection.send(message, binary, "block", limit)
            else:
                sent = self._port.send(message, binary, limit)
            if not sent and overflow == "auto":
                # A peer that reads nothing for that long is disconnected.
                sent = connection.send(message, binary, "close")
        else:
            policy = "close" if overflow == "auto" else overflow
            sent = connection.send(message, binary, policy)
        if not sent:
            self._note_failure()
        return sent

    def _is_served(self) -> bool:
        """Return whether this thread (greenlet) may wait for room.

        The view's own thread may wait, and a thread whose latest sends all went to this
        connection: it keeps no other connection waiting. A thread that sends to several
        connections may not wait.
        """
        if self._owner == threading.get_ident():
            return True
        if self._port is None:
            return self._connection.is_served()
        return bool(self._port.is_served())

    def _note_failure(self) -> None:
        connection = self._connection
        if not (self._closed or connection.ended or connection.close_code):
            return
        taken = connection.stats["received_messages"] - connection.pending
        if taken != self._failed_at:
            self._failed_at, self._failed = taken, 0
            self._vain_calls = 0
        self._failed += 1
        self._in_vain()

    def send_json(self, data: Any, **kwargs: Any) -> bool:
        """Send ``data`` as JSON text.

        Args:
            data: Anything that Django's JSON encoder can encode.
            kwargs: Arguments of :func:`json.dumps`.

        Raises:
            TypeError: ``data`` has a value that JSON cannot express.
            ValueError: ``data`` has a number that JSON cannot express (``nan``,
                ``inf``).
        """
        return self.send(to_json(data, **kwargs), False)

    def ping(self, payload: str | bytes = b"") -> bool:
        """Send a ping of at most 125 bytes, in addition to the engine's own pings.

        Returns:
            Whether the ping was accepted for sending. ``False`` if the connection is
            closing, or if 64 pings wait already because the peer does not read.
        """
        return self._connection.ping(arguments.ping_payload(payload))

    def _sends_in_vain(self) -> bool:
        """Return whether failed sends have shown that the conversation is over.

        False while the view has messages to read, unless the view has stopped reading.
        """
        return bool(self._failed) and (
            not self._connection.pending
            or not self._failed_at
            or self._failed > _UNREAD_SENDS
        )

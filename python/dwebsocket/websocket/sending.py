"""What a WebSocket sends, and what a peer does to it that reads too slowly."""

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
#: Failed sends in a row, no message read between, that show that nobody is reading.
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
        # What bytes are sent as: the engine decides by their content, or binary.
        self._binary = True if modern else None
        self._overflow = overflow
        self._send_timeout = send_timeout
        #: Sends that failed in a row, and how many messages had been read by then.
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
            message: ``str`` goes out as text; ``bytes`` as binary in the modern
                dialect, as text where it is valid UTF-8 in the classic one. Halves of
                surrogate pairs become U+FFFD, as when a browser sends them.
            binary: True: as a binary message, False: as text, whatever the type.
            overflow: What to do when the outbox is full, instead of the setting.
            timeout: Seconds that a send waits for room, instead of ``SEND_TIMEOUT``;
                less than 0, or infinity: no limit.

        Returns:
            Whether the message is on its way.

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
            # For its TypeError.
            connection.send(message, binary, "refuse")
        elif overflow == "block" or (overflow == "auto" and self._is_served()):
            if self._port is None:
                sent = connection.send(message, binary, "block", limit)
            else:
                sent = self._port.send(message, binary, limit)
            if not sent and overflow == "auto":
                # A peer that reads nothing for so long has lost the conversation.
                sent = connection.send(message, binary, "close")
        else:
            policy = "close" if overflow == "auto" else overflow
            sent = connection.send(message, binary, policy)
        if not sent:
            self._note_failure()
        return sent

    def _is_served(self) -> bool:
        """Return whether this thread (greenlet) may wait for room.

        The view's own may, and one whose latest sends all went here: nobody else is
        kept waiting. One that sends around may not.
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
            data: What Django's JSON encoder can encode.
            kwargs: Go to :func:`json.dumps`.

        Raises:
            TypeError: It has something that JSON has no form for.
            ValueError: It has a number that JSON has no form for (``nan``, ``inf``).
        """
        return self.send(to_json(data, **kwargs), False)

    def ping(self, payload: str | bytes = b"") -> bool:
        """Send a ping of at most 125 bytes, beside those that the engine sends.

        Returns:
            Whether it is on its way. ``False`` where the connection is closing, or
            where 64 pings wait already, because the peer does not read.
        """
        return self._connection.ping(arguments.ping_payload(payload))

    def _sends_in_vain(self) -> bool:
        """Return whether sending has shown that the conversation is over.

        Not while the view has messages to read, unless it does not read any more.
        """
        return bool(self._failed) and (
            not self._connection.pending
            or not self._failed_at
            or self._failed > _UNREAD_SENDS
        )

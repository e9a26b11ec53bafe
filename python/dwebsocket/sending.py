"""What a WebSocket sends, and what a peer does to it that reads too slowly."""

from __future__ import annotations

import json
import threading
from typing import Any, TypeAlias

from django.core.serializers.json import DjangoJSONEncoder

from . import _engine
from .receiving import Receiving

__all__ = ("Data", "Sending")

Data: TypeAlias = "str | bytes | bytearray | memoryview"

#: Failed sends in a row, no message read between, that show that nobody is reading.
_UNREAD_SENDS = 16


class Sending(Receiving):
    """The sending half of :class:`~dwebsocket.websocket.WebSocket`."""

    __slots__ = (
        "_binary",
        "_failed",
        "_failed_at",
        "_overflow",
        "_owner",
        "_port",
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
        self._port = port
        # What bytes are sent as: the engine decides by their content, or binary.
        self._binary = True if modern else None
        self._overflow = overflow
        self._send_timeout = send_timeout
        #: Sends that failed in a row, and how many messages had been read by then.
        self._failed = 0
        self._failed_at = 0
        #: The thread of the view.
        self._owner = 0

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
        kwargs.setdefault("cls", DjangoJSONEncoder)
        return self.send(json.dumps(data, **kwargs), False)

    def ping(self, payload: str | bytes = b"") -> bool:
        """Send a ping of at most 125 bytes, beside those that the engine sends.

        Returns:
            Whether it is on its way. ``False`` where the connection is closing, or
            where 64 pings wait already, because the peer does not read.
        """
        if isinstance(payload, str):
            payload = payload.encode()
        return self._connection.ping(payload)

    def _sends_in_vain(self) -> bool:
        """Return whether sending has shown that the conversation is over.

        Not while the view has messages to read, unless it does not read any more.
        """
        return bool(self._failed) and (
            not self._connection.pending
            or not self._failed_at
            or self._failed > _UNREAD_SENDS
        )

"""``websocket.protocol``: the lower-level objects that old code uses."""

from __future__ import annotations

import typing
from typing import Any

__all__ = ("Protocol", "Socket")


class WebSocket(typing.Protocol):
    """The part of the WebSocket that :class:`Protocol` and :class:`Socket` use."""

    remote_address: tuple[str, int]

    def fileno(self) -> int: ...

    def can_read(self, timeout: float | None = 0.0) -> bool: ...

    def send(self, message: Any, binary: bool | None = None) -> bool: ...

    def ping(self, payload: str | bytes = b"") -> bool: ...

    def close(
        self, code: int | None = None, reason: str | bytes | None = None
    ) -> None: ...

    def is_closed(self) -> bool: ...

    @property
    def close_code(self) -> int | None: ...

    @property
    def close_reason(self) -> str: ...


class Socket:
    """Stands in for the socket: old code waits on it and closes it."""

    __slots__ = ("_websocket",)

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    def fileno(self) -> int:
        """Return a descriptor that polls readable while a message or the end waits."""
        return self._websocket.fileno()

    def getpeername(self) -> tuple[str, int]:
        """Return the client's address and port."""
        return self._websocket.remote_address

    def close(self) -> None:
        """Close the WebSocket."""
        self._websocket.close()


class Protocol:
    """Stands in for the protocol object of the old package."""

    __slots__ = ("_websocket", "sock")

    OPCODE_TEXT = 0x1
    OPCODE_BINARY = 0x2
    OPCODE_CLOSE = 0x8
    OPCODE_PING = 0x9
    OPCODE_PONG = 0xA

    STATUS_NORMAL = 1000
    STATUS_GOING_AWAY = 1001
    STATUS_PROTOCOL_ERROR = 1002
    STATUS_UNSUPPORTED_DATA_TYPE = 1003
    STATUS_STATUS_NOT_AVAILABLE = 1005
    STATUS_ABNORMAL_CLOSED = 1006
    STATUS_INVALID_PAYLOAD = 1007
    STATUS_POLICY_VIOLATION = 1008
    STATUS_MESSAGE_TOO_BIG = 1009
    STATUS_INVALID_EXTENSION = 1010
    STATUS_UNEXPECTED_CONDITION = 1011
    STATUS_TLS_HANDSHAKE_ERROR = 1015

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.sock = Socket(websocket)

    @property
    def close_code(self) -> int | None:
        """The close code; None while the connection is open."""
        return self._websocket.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with the close code."""
        return self._websocket.close_reason

    @property
    def server_terminated(self) -> bool:
        """Whether the connection is closed."""
        return self._websocket.is_closed()

    @property
    def client_terminated(self) -> bool:
        """Whether the connection is closed."""
        return self._websocket.is_closed()

    def is_closed(self) -> bool:
        """Return whether the connection is closed."""
        return self._websocket.is_closed()

    def can_read(self, timeout: float = 0.0) -> bool:
        """Return whether a message or the end arrives within ``timeout`` seconds."""
        return self._websocket.can_read(timeout)

    def write(self, message: Any, binary: bool = False) -> None:
        """Send a message; ``binary=True`` sends it as a binary message."""
        self._websocket.send(message, binary=binary or None)

    def write_ping(self, payload: str | bytes = b"") -> None:
        """Send a ping."""
        self._websocket.ping(payload)

    def close(self, code: int | None = None, reason: str | bytes | None = None) -> None:
        """Close the WebSocket."""
        self._websocket.close(code, reason)

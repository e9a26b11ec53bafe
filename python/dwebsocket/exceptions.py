"""The exceptions of this package, each with the built-in one that it also is.

WebSocketException
├── ConfigurationError (ImproperlyConfigured)   a setting or an argument is wrong
├── HandshakeError (ValueError)                 the client's handshake is refused
├── SocketUnavailable (RuntimeError)            the server's socket cannot be had
├── WebSocketClosed (ConnectionError)           receive(): the conversation is over
├── WebSocketEOF (EOFError)                     classic wait(): asked after the end
├── ReceiveTimeout (TimeoutError)               receive(): no message came in time
├── BrokerError (OSError)                       the broker cannot be asked
└── Refused (Exception)                         a session's request cannot be met

PeerGone (BaseException)                        leaves a view that overlooks the end
"""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured

__all__ = (
    "BrokerError",
    "ConfigurationError",
    "HandshakeError",
    "PeerGone",
    "ReceiveTimeout",
    "Refused",
    "SocketUnavailable",
    "WebSocketClosed",
    "WebSocketEOF",
    "WebSocketException",
)


class WebSocketException(Exception):
    """The base of every exception that this package raises on its own account."""


class ConfigurationError(WebSocketException, ImproperlyConfigured):
    """A setting or a decorator's argument is wrong; the message says which and how."""


class HandshakeError(WebSocketException, ValueError):
    """The client's opening handshake is not one that RFC 6455 allows.

    Args:
        message: What is wrong with it; goes to the client as the body.
        status: The HTTP status of the refusal.
        headers: What the refusal must carry (``Sec-WebSocket-Version``, say).
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.headers = tuple(headers)


class SocketUnavailable(WebSocketException, RuntimeError):
    """The socket of this request cannot be taken over from the server.

    Args:
        message: Why, and what to do about it; goes to the log and to the client.
    """


class WebSocketClosed(WebSocketException, ConnectionError):
    """The connection is closed and every message has been read.

    Args:
        code: The close code (RFC 6455 section 7.4): 1006 if the connection broke
            without a Close frame, 1005 if the frame had no code.
        reason: The reason that came with it, "" if none.
    """

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(f"closed with code {code}" + (reason and f": {reason}"))
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type[WebSocketClosed], tuple[int, str]]:
        return type(self), (self.code, self.reason)


class WebSocketEOF(WebSocketException, EOFError):
    """A classic view asked for more after the None that ended the conversation."""


class ReceiveTimeout(WebSocketException, TimeoutError):
    """No message came within the time given to ``receive()``; still connected."""


class BrokerError(WebSocketException, OSError):
    """The broker cannot be asked."""


class Refused(WebSocketException):
    """A request of the client's cannot be met; it learns the code and the message.

    Args:
        code: "forbidden", "invalid", "too_many" or "unavailable".
        message: What to do about it, in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PeerGone(BaseException):
    """Leaves a view that has made only calls in vain since its peer has gone.

    No :exc:`Exception`, so that it gets through a loop that goes on after any of these.
    ``finally`` runs; nothing is logged but one line. See the setting ``GONE_TIMEOUT``.
    """

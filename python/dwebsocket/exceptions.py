"""The exceptions of this package; in parentheses, the other base class of each.

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
    """The base class of this package's exceptions, except :exc:`PeerGone`."""


class ConfigurationError(WebSocketException, ImproperlyConfigured):
    """A setting or a decorator's argument is wrong; the message says which and how."""


class HandshakeError(WebSocketException, ValueError):
    """The client's opening handshake breaks the rules of RFC 6455.

    Args:
        message: What is wrong with the handshake; sent to the client as the body.
        status: The HTTP status of the refusal.
        headers: Headers that the refusal must have, such as
            ``Sec-WebSocket-Version``.
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
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)


class SocketUnavailable(WebSocketException, RuntimeError):
    """The socket of this request cannot be taken over from the server.

    Args:
        message: The cause and the remedy; goes to the log and to the client.
    """


class WebSocketClosed(WebSocketException, ConnectionError):
    """The connection is closed and every message has been read.

    Args:
        code: The close code (RFC 6455 section 7.4): 1006 if the connection broke
            without a Close frame, 1005 if the frame had no code.
        reason: The reason that came with the code; "" if there was none.
    """

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(f"closed with code {code}" + (reason and f": {reason}"))
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type[WebSocketClosed], tuple[int, str]]:
        return type(self), (self.code, self.reason)


class WebSocketEOF(WebSocketException, EOFError):
    """A classic view called ``wait()`` again after the None that means the end."""


class ReceiveTimeout(WebSocketException, TimeoutError):
    """No message came within the timeout of ``receive()``; the connection is open."""


class BrokerError(WebSocketException, OSError):
    """The broker cannot be reached, or cannot answer."""


class Refused(WebSocketException):
    """A session refuses a client's request; the client gets the code and the message.

    Args:
        code: "forbidden", "invalid", "too_many" or "unavailable"; or a code of a
            subclass of ``Session``.
        message: The cause or the remedy, in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PeerGone(BaseException):
    """Ends a view that has made only calls without effect since its peer went away.

    PeerGone is not an :exc:`Exception`, so that it also ends a loop that catches every
    Exception. ``finally`` runs, and the log gets one line. See the setting
    ``GONE_TIMEOUT``.
    """

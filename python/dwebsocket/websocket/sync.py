"""The WebSocket of a synchronous view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dwebsocket import _engine
from dwebsocket.conf import arguments
from dwebsocket.conf.keys import SECONDS, positive
from dwebsocket.logins import following, rights

from .grouping import Grouping
from .legacy import Protocol
from .receiving import Shown
from .unopened import Unopened

__all__ = ("WebSocket",)


class WebSocket(Grouping):
    """One connection, in one of two dialects.

    The classic dialect is that of dwebsocket: text arrives as ``bytes``, and the
    conversation ends with one None; asking for more raises :exc:`EOFError`. In the
    modern dialect, text arrives as ``str``, and ``wait()`` returns None from the end
    on. :meth:`receive` is the same in both dialects and never ambiguous.

    A WebSocket may be used from any thread, also after the view has returned.
    Attributes can be set on it. It hashes and compares by identity.

    Args:
        connection: The engine's connection.
        modern: Speak the modern dialect; False: the classic one.
        overflow: What a full outbox does (see the setting ``OVERFLOW``).
        send_timeout: Seconds that a send from the view itself waits for room.
        subprotocol: The negotiated subprotocol; None if there is none.
        remote_address: The client's address and port.
        port: Receives and sends cooperatively (gevent); None: block the thread.
    """

    __slots__ = ("_protocol", "_rights", "remote_address", "subprotocol")

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
        super().__init__(connection, modern, port, overflow, send_timeout)
        self._protocol: Protocol | None = None
        #: The rights of the request's user; None before the view starts and after it
        #: has ended.
        self._rights: rights.Rights | None = None
        self.subprotocol = subprotocol
        self.remote_address = remote_address

    def close(self, code: int | None = None, reason: str | bytes | None = None) -> None:
        """Close the connection, after the messages sent before. Idempotent.

        Args:
            code: The close code, 1000 by default (RFC 6455 section 7.4).
            reason: The close reason; cut off after 123 bytes of UTF-8.

        Raises:
            ValueError: The code may not be sent.
            TypeError: The code is not a whole number, or the reason is neither str nor
                bytes.
        """
        if self._closed:
            return
        if not self._modern and not code:
            # The old package accepts close(0) and close("").
            code = None
        code, text = arguments.close_code(code), arguments.reason(reason)
        # Set before the engine closes: a thread that wakes up from waiting must see
        # that this side has closed.
        self._closed = code
        try:
            self._connection.close(code, text)
        except ValueError:
            self._closed = 0
            raise

    def recheck(self) -> bool:
        """Return whether the login that opened the connection is still valid.

        The session and the user are read again. The connection is closed with 4001 if
        the user has logged out, was deactivated or deleted, if the password has
        changed, or if the session has expired. Otherwise ``request.user`` becomes the
        user as the database has it now. Guests may always stay.

        If the database is unavailable, the connection stays: the method returns True
        and logs the error.
        """
        return rights.may_stay(self)

    def watch(
        self, interval: float = 30.0, allowed: Callable[[], bool] | None = None
    ) -> None:
        """Check the login from time to time, also while the view waits.

        The check is that of :meth:`recheck`, but ``request.user`` stays unchanged: one
        thread of the process makes the checks of all connections. When a user logs out
        or is deactivated or deleted through Django, the connection is closed at once,
        in all processes that a broker joins.

        Args:
            interval: Seconds between two checks (see ``RECHECK_INTERVAL``).
            allowed: A further check, called in that thread: for example, whether a
                token is still valid. If it returns False or raises PermissionDenied,
                the connection is closed with 4001. After another exception, the
                connection stays.

        Raises:
            ValueError: The interval is not a number greater than 0.
            TypeError: ``allowed`` is not callable.
            RuntimeError: The view has ended.
        """
        if not positive(interval):
            raise ValueError(f"{SECONDS}, not {interval!r}")
        if allowed is not None and not callable(allowed):
            raise TypeError(f"allowed is a function, not {type(allowed).__name__}")
        if self._rights is None:
            raise RuntimeError("the view has ended")
        if allowed is not None:
            self._rights.allowed = allowed
        following.begin(self, interval)

    def is_closed(self) -> bool:
        """Return whether the conversation is over.

        False while the view has messages to read, unless the view only sends. In the
        classic dialect, True only after the final None was read or a send has failed.
        """
        if self._closed or self._ends:
            return True
        if self._modern and self._connection.ended and not self._connection.pending:
            return True
        return self._sends_in_vain()

    is_close = is_closed

    @property
    def closed(self) -> bool:
        """Whether the conversation is over; set it to True to close the connection."""
        return self.is_closed()

    @closed.setter
    def closed(self, value: bool) -> None:
        if value:
            self.close()

    @Shown
    def close_code(self) -> int | None:
        """The close code (RFC 6455 section 7.1.5); None while still open."""
        return self._connection.close_code

    @Shown
    def close_reason(self) -> str:
        """The reason that came with the close code; "" if there was none."""
        return self._connection.close_reason

    @Shown
    def id(self) -> int:
        """The number of this connection, unique in the process."""
        return self._connection.id

    @Shown
    def latency(self) -> float | None:
        """The round trip of the latest keepalive ping, in seconds; None before it."""
        return self._connection.latency

    @Shown
    def stats(self) -> dict[str, int]:
        """Counters: messages and bytes in each direction, drops, queue lengths."""
        return self._connection.stats

    @property
    def protocol(self) -> Protocol:
        """The object through which old code gets ``fileno()`` and the opcodes."""
        if self._protocol is None:
            self._protocol = Protocol(self)
        return self._protocol

    def fileno(self) -> int:
        """Return a descriptor that polls readable while a message or the end waits."""
        return self._connection.fileno()

    def accept_connection(self) -> None:
        """Open a WebSocket that a middleware has made by ``create_websocket()``.

        For any other WebSocket, do nothing: it was opened before the view began.

        Raises:
            HandshakeError: The handshake is not acceptable.
            PermissionDenied: The Origin is not allowed.
            SocketUnavailable: The server's socket cannot be taken over.
        """
        connection: Any = self._connection
        if isinstance(connection, Unopened):
            connection.accept(self)

    def _become(self, opened: WebSocket) -> None:
        """Take over the connection that was opened for this WebSocket."""
        self._use(opened._connection, opened._port)
        self.subprotocol = opened.subprotocol
        self.remote_address = opened.remote_address

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection.id}>"

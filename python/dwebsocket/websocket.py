"""The WebSocket that a view talks to, and the decorator of the same name.

``dwebsocket.websocket`` is both: a module, and a decorator::

    @dwebsocket.websocket
    def echo(request): ...

    isinstance(request.websocket, dwebsocket.websocket.WebSocket)

See :func:`dwebsocket.decorators.websocket` for its arguments.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

from . import _engine, arguments, rights, watching
from .grouping import Grouping
from .inline import Unopened
from .protocol import Protocol
from .receiving import Shown

__all__ = ("WebSocket",)


class WebSocket(Grouping):
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
        #: What the request's user may; None outside of the view's time.
        self._rights: rights.Rights | None = None
        self.subprotocol = subprotocol
        self.remote_address = remote_address

    def close(self, code: int | None = None, reason: str | bytes | None = None) -> None:
        """Close the connection; what was sent before goes out first. Idempotent.

        Args:
            code: The close code, 1000 by default (RFC 6455 section 7.4).
            reason: Why, in at most 123 bytes of UTF-8; what is over is cut off.

        Raises:
            ValueError: The code is not one that may be sent.
            TypeError: It is not a whole number, or the reason neither str nor bytes.
        """
        if self._closed:
            return
        if not self._modern and not code:
            # As in the old package: close(0), close("").
            code = None
        code, text = arguments.close_code(code), arguments.reason(reason)
        # Whoever wakes up from waiting must see that it was this side's doing.
        self._closed = code
        try:
            self._connection.close(code, text)
        except ValueError:
            self._closed = 0
            raise

    def recheck(self) -> bool:
        """Return whether the login that the connection was opened with still holds.

        The session and the user are read anew. Where the user has logged out, is not
        active any longer or was deleted, where the password has changed or the session
        has expired, the connection is closed with 4001. Otherwise ``request.user`` is
        the user as the database has it now. Guests may always stay.

        A database that is away ends nothing: the answer is True, and the log has it.
        """
        return rights.may_stay(self)

    def watch(
        self, interval: float = 30.0, allowed: Callable[[], bool] | None = None
    ) -> None:
        """Have the login checked from time to time, also while the view waits.

        As :meth:`recheck`, but ``request.user`` stays as it is: another thread does it,
        one for the whole process. On a logout, a user's deactivation or deletion by
        Django's means, the connection is closed at once, in all processes that a broker
        joins.

        Args:
            interval: Seconds between two checks (see ``RECHECK_INTERVAL``).
            allowed: Asked beside that, in that thread: whether a token has not expired,
                say. The connection is closed with 4001 when it returns False or raises
                PermissionDenied; another exception is one that cannot tell.

        Raises:
            ValueError: The interval is no number greater than 0.
            TypeError: ``allowed`` is no function.
            RuntimeError: The view has ended.
        """
        if not (type(interval) in (int, float) and 0 < interval < 1e9):
            raise ValueError(f"a number of seconds greater than 0, not {interval!r}")
        if allowed is not None and not callable(allowed):
            raise TypeError(f"allowed is a function, not {type(allowed).__name__}")
        if self._rights is None:
            raise RuntimeError("the view has ended")
        if allowed is not None:
            self._rights.allowed = allowed
        watching.begin(self, interval)

    def is_closed(self) -> bool:
        """Return whether the conversation is over.

        Never True while the view has messages to read, unless it only sends; in the
        classic dialect not before the final None was read or a send has failed.
        """
        if self._closed or self._ends:
            return True
        if self._modern and self._connection.ended and not self._connection.pending:
            return True
        return self._sends_in_vain()

    is_close = is_closed

    @property
    def closed(self) -> bool:
        """Whether the conversation is over; setting it to True closes."""
        return self.is_closed()

    @closed.setter
    def closed(self, value: bool) -> None:
        if value:
            self.close()

    @Shown
    def close_code(self) -> int | None:
        """The close code (RFC 6455 section 7.1.5); None while open."""
        return self._connection.close_code

    @Shown
    def close_reason(self) -> str:
        """The reason that came with it; "" if none."""
        return self._connection.close_reason

    @Shown
    def id(self) -> int:
        """A number that no other connection of this process ever has."""
        return self._connection.id

    @Shown
    def latency(self) -> float | None:
        """Seconds that the latest keepalive ping took; None before the first."""
        return self._connection.latency

    @Shown
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
        """Open a WebSocket that a middleware has made by ``create_websocket()``.

        Do nothing to any other: it was opened before the view began.

        Raises:
            HandshakeError: The handshake is not acceptable.
            PermissionDenied: The Origin is not allowed.
            SocketUnavailable: The server's socket cannot be had.
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


class _Module(types.ModuleType):
    """This module, which can be called as the decorator."""

    def __call__(
        self, view: Any = None, /, *, subprotocols: Any = None, **overrides: Any
    ) -> Any:
        """Let a view talk WebSocket; see :func:`dwebsocket.decorators.websocket`."""
        # Imported late: it knows of this module.
        from . import decorators

        decorate: Any = decorators.websocket
        return decorate(view, subprotocols=subprotocols, **overrides)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Module

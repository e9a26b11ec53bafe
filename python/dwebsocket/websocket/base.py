"""What the WebSockets of synchronous and of asynchronous views have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from django.utils.functional import Promise

from dwebsocket.conf import arguments
from dwebsocket.conf.keys import SECONDS, positive
from dwebsocket.hub.messages import Message
from dwebsocket.logins.rights import Rights
from dwebsocket.signals import emit, websocket_message

from .dialects import CLASSIC, Answer, End
from .endpoint import Endpoint
from .legacy import Protocol
from .shown import Shown

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Received = TypeVarWithDefault("Received", default=str | bytes)
else:
    Received = TypeVar("Received")

__all__ = ("BaseWebSocket", "Data", "Received")

Data: TypeAlias = Message
Other = TypeVar("Other")

_TEXT = (str, Promise)


class BaseWebSocket(Generic[Received]):
    """The calls that never wait, of one connection.

    Attributes can be set on a WebSocket. It hashes and compares by identity.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_endpoint",
        "_overflow",
        "_protocol",
        "_send_timeout",
        "handle",
        "remote_address",
        "subprotocol",
    )

    #: The package's state; its type depends on the kind of WebSocket.
    _endpoint: Endpoint
    _overflow: str
    _protocol: Protocol | None
    _send_timeout: float
    #: Old code's callback, called with each message's opcode and data.
    handle: Any
    subprotocol: str | None
    remote_address: tuple[str, int]

    @overload
    def read(self, fallback: None = None) -> Received | None: ...
    @overload
    def read(self: BaseWebSocket[bytes], fallback: Other) -> bytes | Other | None: ...
    @overload
    def read(self, fallback: Other) -> Received | Other: ...
    def read(self, fallback: Any = None) -> Any:
        """Return the next message if there is one, else ``fallback``; never block.

        Raises:
            EOFError: In the classic dialect, on a further call after the end.
        """
        endpoint = self._endpoint
        message = endpoint.late()
        if message is None:
            if not endpoint.has_ended():
                return fallback
            # A message may have come before the end.
            message = endpoint.late()
        if message is None:
            return self._meet_end(endpoint.dialect.ask, fallback)
        self._note_message(message)
        return message

    def has_messages(self) -> bool:
        """Return whether a message waits (classic dialect: or the final None)."""
        return self.count_messages() > 0

    def count_messages(self) -> int:
        """Return how many messages wait (classic dialect: the final None is one)."""
        endpoint = self._endpoint
        end = endpoint.end()
        if end is None:
            return endpoint.connection.pending
        answer = endpoint.dialect.ask[end]
        if answer is Answer.REFUSED:
            endpoint.meet_end(endpoint.dialect.ask)
        count = 0 if endpoint.closed else endpoint.connection.pending
        if not count:
            endpoint.note_vain_call()
        return count + (answer is Answer.LAST)

    def ping(self, payload: str | bytes = b"") -> bool:
        """Send a ping of at most 125 bytes, in addition to the engine's own pings.

        Returns:
            Whether the ping was accepted for sending. ``False`` if the connection is
            closing, or if 64 pings wait already because the peer does not read.
        """
        return self._endpoint.connection.ping(arguments.ping_payload(payload))

    @Shown
    def groups(self) -> list[str]:
        """The groups that this WebSocket is a member of."""
        return self._endpoint.connection.groups

    @Shown
    def member_id(self) -> str:
        """The id under which the other members see this WebSocket."""
        return self._endpoint.connection.member_id

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
        endpoint = self._endpoint
        if endpoint.closed:
            return
        if endpoint.dialect is CLASSIC and not code:
            # The old package accepts close(0) and close("").
            code = None
        code, text = arguments.close_code(code), arguments.reason(reason)
        # Set before the engine closes: a thread that wakes up from waiting must see
        # that this side has closed.
        endpoint.closed = code
        try:
            endpoint.connection.close(code, text)
        except (RuntimeError, ValueError):
            # RuntimeError: accept() was not called yet.
            endpoint.closed = 0
            raise

    def _to_watch(self, interval: float, allowed: Callable[[], bool] | None) -> Rights:
        """Check the arguments of ``watch()``; return what it begins to check.

        Raises:
            ValueError, TypeError, RuntimeError: As :meth:`.WebSocket.watch` does.
        """
        if not positive(interval):
            raise ValueError(f"{SECONDS}, not {interval!r}")
        if allowed is not None and not callable(allowed):
            raise TypeError(f"allowed must be a function, not {type(allowed).__name__}")
        found = self._endpoint.rights
        if found is None:
            raise RuntimeError("the view has ended")
        if allowed is not None:
            found.allowed = allowed
        return found

    def is_closed(self) -> bool:
        """Return whether the conversation is over.

        False while the view has messages to read, unless the view only sends. In the
        classic dialect, True only after the final None was read or a send has failed.
        """
        return self._endpoint.is_over()

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
        return self._endpoint.connection.close_code

    @Shown
    def close_reason(self) -> str:
        """The reason that came with the close code; "" if there was none."""
        return self._endpoint.connection.close_reason

    @Shown
    def id(self) -> int:
        """The number of this connection, unique in the process."""
        return self._endpoint.connection.id

    @Shown
    def latency(self) -> float | None:
        """The round trip of the latest keepalive ping, in seconds; None before it."""
        return self._endpoint.connection.latency

    @Shown
    def stats(self) -> dict[str, int]:
        """Counters: messages and bytes in each direction, drops, queue lengths."""
        return self._endpoint.connection.stats

    @property
    def protocol(self) -> Protocol:
        """The object through which old code gets ``fileno()`` and the opcodes."""
        if self._protocol is None:
            websocket: Any = self  # what it waits with depends on the kind
            self._protocol = Protocol(websocket)
        return self._protocol

    def fileno(self) -> int:
        """Return a descriptor that polls readable while a message or the end waits."""
        return self._endpoint.connection.fileno()

    def _binary(self, message: Any, binary: bool | None) -> bool | None:
        """Return the ``binary`` of a message for which the caller gave none."""
        if binary is None and (
            message.__class__ is bytes or not isinstance(message, _TEXT)
        ):
            return self._endpoint.dialect.binary
        return binary

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint.connection.id}>"

    def _meet_end(self, answers: Mapping[End, Answer], nothing: Other) -> Other | None:
        """Return what a call answers at the end: ``nothing``, or the last None."""
        if self._endpoint.meet_end(answers) is Answer.NOTHING:
            return nothing
        if self.handle is not None:
            self.handle(Protocol.OPCODE_CLOSE, None)
        return None

    def _note_message(self, message: Any) -> None:
        if websocket_message.receivers:
            emit(websocket_message, self, message=message)
        if self.handle is not None:
            self._call_handle(message)

    def _call_handle(self, message: Any) -> None:
        text = self._endpoint.dialect.is_text(message)
        self.handle(Protocol.OPCODE_TEXT if text else Protocol.OPCODE_BINARY, message)

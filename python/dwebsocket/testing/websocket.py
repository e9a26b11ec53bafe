"""The client's WebSocket in a test."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from dwebsocket.exceptions import ReceiveTimeout, WebSocketClosed

from . import frames
from .conversation import Conversation
from .frames import Frame

__all__ = ("ClientWebSocket", "of")


class ClientWebSocket:
    """A client's WebSocket, whose view runs in turns with the test.

    Each call returns when the views of the test rest again: they wait for a message, or
    have ended. So what a view has done after its ``send()`` is done. Leaving the block
    of a ``with`` closes with 1000, waits for the view to end and raises what the view
    has raised.

    Args:
        conversation: The client's end, and the view.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        #: The response with the status 101, as Django's test client returns it.
        self.response = conversation.response

    # The handshake.

    @property
    def headers(self) -> Any:
        """The headers of the 101; names are compared without regard to case."""
        return self._conversation.wire.headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the view's decorator has chosen; None: none."""
        return self._conversation.wire.headers.get("Sec-WebSocket-Protocol")

    @property
    def compressed(self) -> bool:
        """Whether the server has agreed to permessage-deflate."""
        return "Sec-WebSocket-Extensions" in self._conversation.wire.headers

    # Messages.

    def send(self, message: str | bytes) -> None:
        """Send a message: str as text, bytes as binary.

        Raises:
            WebSocketClosed: The connection is closed.
            TypeError: The message is neither str nor bytes.
        """
        if not isinstance(message, str | bytes | bytearray | memoryview):
            raise TypeError(
                f"a message is str or bytes, not {type(message).__name__}; "
                "send_json() sends other values"
            )
        self._conversation.write(lambda: self._conversation.wire.send(message))

    def send_json(self, data: Any) -> None:
        """Send a value as JSON text.

        Raises:
            WebSocketClosed: The connection is closed.
            TypeError: JSON cannot express the value.
        """
        self.send(json.dumps(data))

    def receive(self, timeout: float | None = 1.0) -> str | bytes:
        """Return the next message: text as str, binary as bytes.

        Args:
            timeout: Seconds to wait for it; None: no limit.

        Raises:
            ReceiveTimeout: (a TimeoutError) No message has come.
            WebSocketClosed: The connection is closed, and every message was read. If
                the view has raised an exception, that is its cause.
        """
        return self._conversation.take(timeout)

    def receive_json(self, timeout: float | None = 1.0) -> Any:
        """Return the next message, parsed as JSON.

        Raises:
            ReceiveTimeout, WebSocketClosed: As :meth:`receive` does.
            ValueError: The message is not JSON.
        """
        return json.loads(self.receive(timeout))

    def receive_nothing(self, duration: float = 0.1) -> None:
        """Make sure that no message comes.

        Args:
            duration: Seconds to wait for one.

        Raises:
            AssertionError: A message has come; the text shows it.
        """
        talk = self._conversation
        talk.rest()
        talk.wait(lambda: bool(talk.wire.messages) or talk.wire.over, duration)
        if talk.wire.messages:
            raise AssertionError(f"a message has come: {talk.wire.messages[0]!r:.500}")

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the connection is closed.

        Raises:
            ReceiveTimeout: No message has come for a second.
        """
        while True:
            try:
                yield self.receive()
            except WebSocketClosed:
                return

    # Frames.

    def ping(self, payload: bytes = b"ping", timeout: float = 1.0) -> None:
        """Send a ping, and wait for its pong.

        Args:
            payload: At most 125 bytes.
            timeout: Seconds to wait for the pong.

        Raises:
            ReceiveTimeout: The pong has not come.
            WebSocketClosed: The connection is closed.
        """
        talk, wire = self._conversation, self._conversation.wire
        talk.write(lambda: wire.send_frame(Frame(frames.PING, payload)))
        talk.wait(lambda: payload in wire.pongs or wire.over, timeout)
        if payload in wire.pongs:
            wire.pongs.remove(payload)
        elif wire.over:
            raise talk.closed()
        else:
            raise ReceiveTimeout(f"no pong within {timeout} seconds")

    def send_frame(
        self,
        opcode: int,
        data: bytes = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        mask: bool = True,
    ) -> None:
        """Send one frame as it is.

        Args:
            opcode: The opcode (RFC 6455 section 5.2).
            data: The payload.
            fin: Whether the frame is the last one of its message.
            rsv1: The first reserved bit.
            mask: Mask with random bytes; False: with zeros.

        Raises:
            WebSocketClosed: The connection is closed.
        """
        talk, frame = self._conversation, Frame(opcode, data, fin, rsv1)
        talk.write(lambda: talk.wire.send_frame(frame, mask))
        talk.let_it_be_read()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, frames or not.

        Raises:
            WebSocketClosed: The connection is closed.
        """
        talk = self._conversation
        talk.write(lambda: talk.wire.write(data))
        talk.let_it_be_read()

    def receive_frame(self, timeout: float | None = 1.0) -> Frame:
        """Return the next frame; only with ``connect(raw=True)``.

        Raises:
            ReceiveTimeout: No frame has come.
            WebSocketClosed: The connection is closed, and every frame was read.
        """
        talk, wire = self._conversation, self._conversation.wire
        talk.wait(lambda: bool(wire.frames) or wire.over, timeout)
        if wire.frames:
            return wire.frames.popleft()
        raise talk.missing("no frame", timeout)

    # The end.

    @property
    def close_code(self) -> int | None:
        """The code with which the server has closed; None while the connection is open.

        1005: its Close frame had no code; 1006: there was no Close frame.
        """
        self.settle()
        return self._conversation.wire.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with the code; "" if there was none."""
        self.settle()
        return self._conversation.wire.close_reason

    @property
    def view_error(self) -> BaseException | None:
        """The exception that has ended the view; None if there was none.

        Who has looked at it knows it: leaving the block does not raise it any more.
        """
        self.settle()
        self._conversation.seen = True
        return self._conversation.view.error

    def wait_closed(self, timeout: float | None = 1.0) -> int:
        """Wait until the server has closed the connection; return the code.

        Messages that come before stay there for :meth:`receive`.

        Args:
            timeout: Seconds to wait; None: no limit.

        Raises:
            ReceiveTimeout: The connection is still open.
        """
        talk, wire = self._conversation, self._conversation.wire
        talk.wait(lambda: wire.over, timeout)
        if wire.close_code is None:
            raise talk.missing("still open", timeout)
        return wire.close_code

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close as a page does: the view gets what was sent before, then the end.

        Args:
            code: The close code; None: a Close frame without one.
            reason: The reason; at most 123 bytes of UTF-8.
        """
        self._conversation.close(code, reason)

    def drop(self) -> None:
        """Vanish without a Close frame, as a phone in a tunnel does."""
        talk = self._conversation
        with talk.stage.changed:
            talk.wire.shut()
        talk.rest()

    def settle(self) -> None:
        """Let the views work until they rest; every other call does so, too."""
        self._conversation.rest()

    def leave(self, error: BaseException | None = None) -> None:
        """Close with 1000, and wait for the view to end; leaving the block does so.

        Args:
            error: The exception that has ended the block; it is not replaced by one of
                the view.

        Raises:
            ViewNotEnded: The view has not ended in time.
        """
        self._conversation.leave(error)

    def __enter__(self) -> ClientWebSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave(error)

    def __del__(self) -> None:
        conversation = self.__dict__.get("_conversation")
        if conversation is None or conversation.left:
            return
        warnings.warn(
            f"The WebSocket of {conversation.view.path} was not closed: use 'with', or "
            "the fixture ws_connect.",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
        conversation.view.abandon()
        conversation.let_go()


def of(websocket: ClientWebSocket) -> Conversation:
    """Return the conversation of a WebSocket, for the asynchronous twin."""
    return websocket._conversation  # noqa: SLF001 - the one place

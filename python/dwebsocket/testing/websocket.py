"""The client's WebSocket in a test."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from dwebsocket.exceptions import ReceiveTimeout, WebSocketClosed

from . import frames, lending
from .errors import ViewNotEnded
from .frames import Frame
from .stage import SLICE, Clock
from .views import View
from .wire import Wire

__all__ = ("ClientWebSocket",)

#: Seconds for what takes no time unless something is wrong: frames of the engine.
_SOON = 2.0


class ClientWebSocket:
    """A client's WebSocket, whose view runs in turns with the test.

    Each call returns when the views of the test rest again: they wait for a message, or
    have ended. So what a view has done after its ``send()`` is done. Leaving the block
    of a ``with`` closes with 1000, waits for the view to end and raises what the view
    has raised.

    Args:
        wire: The client's end.
        view: The view.
        response: The 101, as Django's test client returns it.
        timeout: Seconds that the view may take to rest, or to end.
        may_outlive: Whether the view may run on after the client has left.
    """

    def __init__(
        self, wire: Wire, view: View, response: Any, timeout: float, may_outlive: bool
    ) -> None:
        self._wire = wire
        self._view = view
        self._stage = view.stage
        self._timeout = timeout
        self._may_outlive = may_outlive
        self._left = self._seen = False
        #: The response with the status 101, as Django's test client returns it.
        self.response = response
        self._stage.add(wire, view)

    def begin(self) -> None:
        """Let the view come to its first ``wait()``.

        Raises:
            ReceiveTimeout: The 101 has not come.
        """
        wire = self._wire
        with self._stage.open():
            self._stage.until(lambda: wire.is_open or wire.over, self._timeout)
            self._settle()
        if not wire.is_open:
            raise ReceiveTimeout("the answer to the handshake has not come")

    # The handshake.

    @property
    def headers(self) -> Any:
        """The headers of the 101; names are compared without regard to case."""
        return self._wire.headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the view's decorator has chosen; None: none."""
        return self._wire.headers.get("Sec-WebSocket-Protocol")

    @property
    def compressed(self) -> bool:
        """Whether the server has agreed to permessage-deflate."""
        return "Sec-WebSocket-Extensions" in self._wire.headers

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
        self._write(lambda: self._wire.send(message))

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
        return self.take(timeout, lambda: False)

    def take(self, timeout: float | None, given_up: Callable[[], bool]) -> str | bytes:
        """Do as :meth:`receive` does, until the caller has given up."""
        wire = self._wire
        with self._stage.open():
            self._stage.until(
                lambda: bool(wire.messages) or wire.over or given_up(), timeout
            )
            self._settle()
            with self._stage.changed:
                if wire.messages and not given_up():
                    return wire.messages.popleft()
        if wire.over:
            raise self._closed()
        raise ReceiveTimeout(
            f"no message within {timeout} seconds{self._whereabouts()}"
        )

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
        wire = self._wire
        with self._stage.open():
            self._settle()
            self._stage.until(lambda: bool(wire.messages) or wire.over, duration)
            self._settle()
        if wire.messages:
            raise AssertionError(f"a message has come: {wire.messages[0]!r:.500}")

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
        wire = self._wire
        self._write(lambda: wire.send_frame(Frame(frames.PING, payload)))
        with self._stage.open():
            self._stage.until(lambda: payload in wire.pongs or wire.over, timeout)
        if payload not in wire.pongs:
            if wire.over:
                raise self._closed()
            raise ReceiveTimeout(f"no pong within {timeout} seconds")
        wire.pongs.remove(payload)

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
        frame = Frame(opcode, data, fin, rsv1)
        self._write(lambda: self._wire.send_frame(frame, mask))
        self._let_it_be_read()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, frames or not.

        Raises:
            WebSocketClosed: The connection is closed.
        """
        self._write(lambda: self._wire.write(data))
        self._let_it_be_read()

    def receive_frame(self, timeout: float | None = 1.0) -> Frame:
        """Return the next frame; only with ``connect(raw=True)``.

        Raises:
            ReceiveTimeout: No frame has come.
            WebSocketClosed: The connection is closed, and every frame was read.
        """
        wire = self._wire
        with self._stage.open():
            self._stage.until(lambda: bool(wire.frames) or wire.over, timeout)
            self._settle()
        if wire.frames:
            return wire.frames.popleft()
        if wire.over:
            raise self._closed()
        raise ReceiveTimeout(f"no frame within {timeout} seconds{self._whereabouts()}")

    # The end.

    @property
    def close_code(self) -> int | None:
        """The code with which the server has closed; None while the connection is open.

        1005: its Close frame had no code; 1006: there was no Close frame.
        """
        self.settle()
        return self._wire.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with the code; "" if there was none."""
        self.settle()
        return self._wire.close_reason

    @property
    def view_error(self) -> BaseException | None:
        """The exception that has ended the view; None if there was none.

        Who has looked at it knows it: leaving the block does not raise it any more.
        """
        self.settle()
        self._seen = True
        return self._view.error

    # For the asynchronous twin, whose properties must not wait.

    @property
    def known_close_code(self) -> int | None:
        """The code, as far as it is known."""
        return self._wire.close_code

    @property
    def known_close_reason(self) -> str:
        """The reason, as far as it is known."""
        return self._wire.close_reason

    @property
    def known_view_error(self) -> BaseException | None:
        """The view's exception, as far as it is known."""
        self._seen = True
        return self._view.error

    def look(self) -> None:
        """Have the calls that wait look again whether they have been given up."""
        with self._stage.changed:
            self._stage.poke()

    def put_back(self, messages: list[str | bytes]) -> None:
        """Put messages back that were taken for a call that nobody waits for."""
        with self._stage.changed:
            self._wire.messages.extendleft(reversed(messages))

    # The end, again.

    def wait_closed(self, timeout: float | None = 1.0) -> int:
        """Wait until the server has closed the connection; return the code.

        Messages that come before stay there for :meth:`receive`.

        Args:
            timeout: Seconds to wait; None: no limit.

        Raises:
            ReceiveTimeout: The connection is still open.
        """
        wire = self._wire
        with self._stage.open():
            self._stage.until(lambda: wire.over, timeout)
            self._settle()
        if wire.close_code is None:
            raise ReceiveTimeout(
                f"still open after {timeout} seconds{self._whereabouts()}"
            )
        return wire.close_code

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close as a page does: the view gets what was sent before, then the end.

        Args:
            code: The close code; None: a Close frame without one.
            reason: The reason; at most 123 bytes of UTF-8.
        """
        wire = self._wire
        if wire.over or self._left:
            return
        data = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        with self._stage.open():
            if not wire.closing:
                with self._stage.changed:
                    wire.send_frame(Frame(frames.CLOSE, data))
            self._stage.until(lambda: wire.over, self._timeout)
            self._settle()

    def drop(self) -> None:
        """Vanish without a Close frame, as a phone in a tunnel does."""
        with self._stage.open():
            with self._stage.changed:
                self._wire.shut()
            self._settle()

    def settle(self) -> None:
        """Let the views work until they rest; every other call does so, too."""
        if not self._left:
            with self._stage.open():
                self._settle()

    def leave(self, error: BaseException | None = None) -> None:
        """Close with 1000, and wait for the view to end; leaving the block does so.

        Args:
            error: The exception that has ended the block; it is not replaced by one of
                the view.

        Raises:
            ViewNotEnded: The view has not ended in time.
        """
        if self._left:
            return
        try:
            self.close()
            ended = self._wait_for_the_end()
        finally:
            self._let_go()
        view = self._view
        if not ended and not self._may_outlive:
            late = self._end_by_force()
            if error is None:
                raise late
        if view.error is None or view.refused or self._seen:
            return
        if error is None:
            self._seen = True
            raise view.error
        if error is not view.error and error.__context__ is None:
            # Both are shown: the view's is often why the test has failed.
            error.__context__ = view.error

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
        if not getattr(self, "_left", True):
            warnings.warn(
                f"The WebSocket of {self._view.path} was not closed: use 'with', or "
                "the fixture ws_connect.",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self._view.abandon()
            self._wire.shut()
            self._let_go()

    # Parts of the above.

    def _write(self, write: Callable[[], None]) -> None:
        wire = self._wire
        with self._stage.open():
            with self._stage.changed:
                refused = wire.over or wire.closing or self._left
                if not refused:
                    write()
                    self._view.sent = wire.sent
            if not refused:
                self._stage.until(lambda: wire.is_written, self._timeout)
                self._settle()
        if refused:
            raise self._closed()

    def _let_it_be_read(self) -> None:
        """Wait for what the engine makes of raw frames: a Close, if they are wrong."""
        connection = self._view.connection
        with self._stage.open():
            self._stage.until(lambda: self._wire.is_read, _SOON)
            self._stage.until(
                lambda: connection is not None and connection.ended, SLICE * 2
            )
            self._settle()

    def _settle(self) -> None:
        """Wait until the views rest, and for the Close that the server sends then."""
        self._stage.until(self._stage.settled, self._timeout)
        # Clients read what other clients' calls have brought them, as pages do.
        self._stage.until(self._stage.heard, _SOON)
        connection = self._view.connection
        if connection is not None and connection.close_code is not None:
            self._stage.until(lambda: self._wire.has_heard_the_end, _SOON)

    def _closed(self) -> WebSocketClosed:
        wire, error = self._wire, self._view.error
        closed = WebSocketClosed(wire.close_code or 1006, wire.close_reason)
        if error is not None and not self._view.refused:
            closed.__cause__ = error
        return closed

    def _whereabouts(self) -> str:
        """Return where the view is, for a message."""
        if self._view.ended:
            return "; the view has ended"
        stack = self._view.stack()
        return f"; the view {self._view.name} is here:\n{stack}" if stack else ""

    def _wait_for_the_end(self) -> bool:
        limit = _SOON if self._may_outlive else self._timeout
        with self._stage.open():
            return self._stage.until(lambda: self._view.ended, limit)

    def _let_go(self) -> None:
        """Give everything back that belongs to this client."""
        self._left = True
        view, wire = self._view, self._wire
        if view.ended:
            view.join(self._timeout)
            self._wait_until_forgotten()
        else:
            view.abandon(end=False)
        wire.shut()
        self._stage.remove(wire, view)
        lending.give_back(view.borrowed)
        view.borrowed = ()

    def _wait_until_forgotten(self) -> None:
        """Wait until the engine has taken the connection out of its groups."""
        connection = self._view.connection
        clock = Clock(_SOON)
        while connection is not None and connection.groups and not clock.is_over():
            with self._stage.changed:
                self._stage.changed.wait(0.0005)

    def _end_by_force(self) -> ViewNotEnded:
        view = self._view
        stack = view.stack()
        view.abandon()
        view.join(1.0)
        return ViewNotEnded(
            f"The view {view.name} of {view.path} has not ended within "
            f"{self._timeout:g} seconds after its client had left. It is here:\n{stack}"
        )

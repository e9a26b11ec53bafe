"""One client, its view and their turns: what both kinds of clients are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dwebsocket import _engine
from dwebsocket.exceptions import ReceiveTimeout, WebSocketClosed

from . import frames, lending
from .errors import ViewNotEnded
from .frames import Frame
from .stage import SLICE, Clock
from .views import View
from .wire import Wire

__all__ = ("SOON", "Conversation")

#: Seconds for what takes no time unless something is wrong: frames of the engine.
SOON = 2.0
_NORMAL = (1000).to_bytes(2, "big")


class Conversation:
    """A client's WebSocket and its view.

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
        self.wire = wire
        self.view = view
        self.stage = view.stage
        self.timeout = timeout
        self.may_outlive = may_outlive
        self.response = response
        #: Whether the client has left, and whether somebody has seen the view's error.
        self.left = self.seen = False
        self.stage.add(wire, view)

    # Messages.

    def begin(self) -> None:
        """Let the view come to its first ``wait()``.

        Raises:
            ReceiveTimeout: The 101 has not come.
        """
        wire = self.wire
        with self.stage.open():
            self.view.start()
            self.settle()
            self.stage.until(lambda: wire.is_open or wire.over, self.timeout)
        if not wire.is_open:
            raise ReceiveTimeout("the answer to the handshake has not come")

    def write(self, write: Callable[[], None]) -> None:
        """Write something, and let the views work.

        Raises:
            WebSocketClosed: The connection is closed.
        """
        wire = self.wire
        with self.stage.open():
            with self.stage.changed:
                refused = wire.over or wire.closing or self.left
                if not refused:
                    write()
                    self.view.sent = wire.sent
            if not refused:
                self.stage.until(lambda: wire.is_written, self.timeout)
                self.settle()
        if refused:
            raise self.closed()

    def let_it_be_read(self) -> None:
        """Wait for what the engine makes of raw frames: a Close, if they are wrong."""
        connection = self.view.connection
        with self.stage.open():
            self.stage.until(lambda: self.wire.is_read, SOON)
            self.stage.until(
                lambda: connection is not None and connection.ended, SLICE * 2
            )
            self.settle()

    def take(
        self, timeout: float | None, given_up: Callable[[], bool] = lambda: False
    ) -> str | bytes:
        """Return the next message, unless the caller has given up.

        Raises:
            ReceiveTimeout, WebSocketClosed: As ``ClientWebSocket.receive()``.
        """
        wire = self.wire
        with self.stage.open():
            self.stage.until(
                lambda: bool(wire.messages) or wire.over or given_up(), timeout
            )
            self.settle()
            with self.stage.changed:
                if wire.messages and not given_up():
                    return wire.messages.popleft()
        raise self.missing("no message", timeout)

    def missing(self, what: str, timeout: float | None) -> Exception:
        """Return the exception for something that has not come."""
        if self.wire.over:
            return self.closed()
        return ReceiveTimeout(f"{what} within {timeout} seconds{self.whereabouts()}")

    def wait(self, reached: Callable[[], bool], timeout: float | None) -> None:
        """Wait for a condition, and let the views work."""
        with self.stage.open():
            self.stage.until(reached, timeout)
            self.settle()

    def look(self) -> None:
        """Have the calls that wait look again whether they have been given up."""
        with self.stage.changed:
            self.stage.poke()

    def put_back(self, messages: list[str | bytes]) -> None:
        """Put messages back that were taken for a call that nobody waits for."""
        with self.stage.changed:
            self.wire.messages.extendleft(reversed(messages))

    # Turns.

    def settle(self) -> None:
        """Wait until the views rest, and for the Close that the server sends then."""
        self.stage.until(self.stage.settled, self.timeout)
        # Clients read what other clients' calls have brought them, as pages do.
        self.stage.until(self.stage.heard, SOON)
        connection = self.view.connection
        if connection is not None and connection.close_code is not None:
            self.stage.until(lambda: self.wire.has_heard_the_end, SOON)

    def rest(self) -> None:
        """Let the views work until they rest, unless the client has left."""
        if not self.left:
            with self.stage.open():
                self.settle()

    def closed(self) -> WebSocketClosed:
        """Return the exception for a closed connection."""
        wire, error = self.wire, self.view.error
        closed = WebSocketClosed(wire.close_code or 1006, wire.close_reason)
        if error is not None and not self.view.refused:
            closed.__cause__ = error
        return closed

    def whereabouts(self) -> str:
        """Return where the view is, for a message."""
        if self.view.ended:
            return "; the view has ended"
        stack = self.view.stack()
        return f"; the view {self.view.name} is here:\n{stack}" if stack else ""

    # The end.

    def close(self, code: int | None, reason: str) -> None:
        """Make the closing handshake."""
        wire = self.wire
        if wire.over or self.left:
            return
        data = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        with self.stage.open():
            if not wire.closing:
                with self.stage.changed:
                    wire.send_frame(Frame(frames.CLOSE, data))
            self.stage.until(lambda: wire.over, self.timeout)
            self.settle()

    def leave(self, error: BaseException | None) -> None:
        """Close with 1000, wait for the view to end, and raise what it has raised.

        Args:
            error: The exception that has ended the test's block, if any.

        Raises:
            ViewNotEnded: The view has not ended in time.
        """
        if self.left:
            return
        late = None
        try:
            if not self._say_goodbye() and not self.may_outlive:
                late = self._end_by_force()
        finally:
            self.let_go()
        if late is not None and error is None:
            raise late
        self._raise_the_views(error)

    def _say_goodbye(self) -> bool:
        """Close with 1000; return whether the view has ended in time."""
        wire, view = self.wire, self.view
        with self.stage.open():
            with self.stage.changed:
                if not (wire.closing or wire.over):
                    wire.send_frame(Frame(frames.CLOSE, _NORMAL))
                view.left = True
            limit = SOON if self.may_outlive else self.timeout
            ended = self.stage.until(lambda: view.ended, limit)
            if ended:
                self.stage.until(lambda: wire.close_code is not None, SOON)
            return ended

    def _end_by_force(self) -> ViewNotEnded:
        view = self.view
        stack = view.stack()
        view.abandon()
        self.stage.until(lambda: view.ended, SOON)
        return ViewNotEnded(
            f"The view {view.name} of {view.path} has not ended within "
            f"{self.timeout:g} seconds after its client had left. It is here:\n{stack}"
        )

    def _raise_the_views(self, error: BaseException | None) -> None:
        view = self.view
        if view.error is None or view.refused or self.seen:
            return
        self.seen = True
        if error is None:
            raise view.error
        if error is not view.error and error.__context__ is None:
            # Both are shown: the view's is often why the test has failed.
            error.__context__ = view.error

    def let_go(self) -> None:
        """Give everything back that belongs to this client; idempotent."""
        if self.left:
            return
        self.left = True
        view, wire = self.view, self.wire
        if not view.ended:
            view.abandon(end=False)
        wire.shut()
        self._wait_until_gone()
        self.stage.remove(wire, view)
        lending.give_back(view.borrowed)
        view.borrowed = ()

    def _wait_until_gone(self) -> None:
        """Wait until the engine has taken the connection out of its groups."""
        connection, found = self.view.connection, _engine.hub_stats()
        if connection is None or not (found.memberships or found.users):
            return
        clock = Clock(SOON)
        while not (connection.gone or clock.is_over()):
            time.sleep(0.0005)

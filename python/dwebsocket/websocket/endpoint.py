"""The server's end of a connection: the state that a WebSocket's methods share.

The attributes of a :class:`~dwebsocket.websocket.WebSocket` belong to the project:
subclasses may hide and override them. The package keeps its own state here, and its
other rooms (the runners, the logins, the session) call these methods.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dwebsocket import _engine
from dwebsocket.exceptions import PeerGone, WebSocketClosed, WebSocketEOF
from dwebsocket.process import fork

from .dialects import Answer, Dialect, End

if TYPE_CHECKING:
    from dwebsocket.logins.rights import Rights

    from .port import Port

__all__ = ("FULL_SPEED", "PAUSE", "Endpoint", "lend", "of")

logger = logging.getLogger("dwebsocket.view")
_PACKAGE = __name__.partition(".")[0]

#: How many calls after the end return at full speed, and the pause in seconds of each
#: later call: a loop that overlooks the end must leave the processor to other views.
FULL_SPEED = 3
PAUSE = 0.075
#: A view is ended only after this many calls in a row on a closed connection.
_VAIN_CALLS = 5
#: After this many failed sends in a row without a message read between them, the view
#: counts as one that does not read.
_UNREAD_SENDS = 16

_end_lock = fork.Lock()


def of(websocket: Any) -> Endpoint:
    """Return the endpoint of a WebSocket."""
    found: Endpoint = websocket._endpoint  # noqa: SLF001 - the one place
    return found


def lend(wrapper: Any, websocket: Any) -> None:
    """Give an object that wraps a WebSocket, and hides its attributes, the endpoint."""
    if not hasattr(wrapper, "_endpoint"):
        wrapper._endpoint = of(websocket)  # noqa: SLF001 - as above


def _tell_swallowed() -> None:
    """Log which code has caught PeerGone: only a fix of that code can end the view."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    logger.warning(
        "A WebSocket's peer has gone, but %s.%s (line %d) has caught PeerGone and "
        "continues. Write 'except Exception:' instead of 'except:', or call "
        "is_closed().",
        frame.f_globals["__name__"],
        frame.f_code.co_name,
        frame.f_lineno,
    )


class Endpoint:
    """The server's end of one connection.

    Args:
        connection: The engine's connection.
        dialect: What the view's calls answer at the end.
        port: Receives and sends cooperatively (gevent); None: block the thread.
    """

    __slots__ = (
        "_failed",
        "_failed_at",
        "_gone_timeout",
        "_owner",
        "_told_gone",
        "_vain_calls",
        "_vain_since",
        "_vain_turns",
        "closed",
        "connection",
        "dialect",
        "groups",
        "offer",
        "port",
        "receive",
        "rights",
        "told",
    )

    connection: _engine.Connection
    port: Port | None
    #: Receives a message: the engine's ``receive``, or the port's.
    #: The type of the message depends on the dialect.
    receive: Callable[[float | None], Any]
    #: Sends without waiting: the engine's ``send``, or the port's ``offer``.
    offer: Callable[[Any, bool | None, str], bool]

    def __init__(
        self, connection: _engine.Connection, dialect: Dialect, port: Port | None
    ) -> None:
        self.use(connection, port)
        self.dialect = dialect
        #: The close code that this side has sent; 0 before.
        self.closed = 0
        #: How many calls have met the end.
        self.told = 0
        #: The rights of the request's user; None before the view starts and after it
        #: has ended.
        self.rights: Rights | None = None
        #: Groups joined and not left; ``group_left`` is sent for them at the end.
        self.groups: set[str] | None = None
        #: The id of the view's thread (greenlet).
        self._owner = 0
        #: The setting ``GONE_TIMEOUT``.
        self._gone_timeout: float | None = None
        #: The view's latest calls on a closed connection: how many in a row, since
        #: when, and how often the thread had switched to other connections by then.
        self._vain_calls = 0
        self._vain_since = 0.0
        self._vain_turns = 0
        #: How often PeerGone was raised in the view.
        self._told_gone = 0
        #: Failed sends in a row, and the number of messages read when they began.
        self._failed = 0
        self._failed_at = 0

    def use(self, connection: _engine.Connection, port: Port | None) -> None:
        """Make this endpoint use a connection from now on."""
        self.connection = connection
        self.port = port
        if port is None:
            self.receive, self.offer = connection.receive, connection.send
        else:
            self.receive, self.offer = port.receive, port.offer

    # The view.

    def begin(self, gone_timeout: float | None = None) -> None:
        """Note that the calling thread (greenlet) runs the view.

        Args:
            gone_timeout: Seconds after which :exc:`PeerGone` ends a view that calls a
                closed connection again and again; None: never.
        """
        self._owner = self.me()
        self._gone_timeout = gone_timeout

    def me(self) -> int:
        """Return a number that stands for the calling thread (greenlet, view)."""
        return threading.get_ident()

    def turns(self) -> int:
        """Return how often the caller has switched from one connection to another."""
        return _engine.turns() if self.port is None else self.port.turns()

    def slow_down(self) -> None:
        """Hold up a view that overlooks the end."""
        time.sleep(PAUSE)

    def leave(self) -> None:
        """Note that the view has ended: another thread may get its thread's id."""
        self._owner = 0

    def is_served(self) -> bool:
        """Return whether this thread (greenlet) may wait for room.

        The view's own thread may wait, and a thread whose latest sends all went to this
        connection: it keeps no other connection waiting. A thread that sends to several
        connections may not wait.
        """
        if self._owner == self.me():
            return True
        if self.port is None:
            return self.connection.is_served()
        return self.port.is_served()

    # The end.

    def late(self) -> Any:
        """Return a message without waiting; None if there is none, or after a close."""
        return None if self.closed else self.receive(0)

    def has_ended(self) -> bool:
        """Return whether either side has ended the connection."""
        return bool(self.closed) or self.connection.ended

    def end(self) -> End | None:
        """Return what is known of the end; None while the connection is open.

        Messages that have arrived before the end may still wait.
        """
        if self.closed:
            return End.CLOSED
        if self.told:
            return End.TOLD
        return End.UNTOLD if self.connection.ended else None

    def is_over(self) -> bool:
        """Return whether the conversation is over, for ``is_closed()``."""
        end = self.end()
        if end in self.dialect.over and (
            end is not End.UNTOLD or not self.connection.pending
        ):
            return True
        return self._sends_in_vain()

    def meet_end(self, answers: Mapping[End, Answer]) -> Answer:
        """Count a call that has met the end, and return what it answers.

        Args:
            answers: The dialect's table for this call.

        Raises:
            WebSocketEOF: The table refuses the call.
            PeerGone: See :meth:`note_vain_call`.
        """
        with _end_lock:
            end = self.end() or End.UNTOLD
            self.told += 1
            told = self.told
        answer = answers[end]
        self.note_vain_call()
        refused = answer is Answer.REFUSED
        if told - refused >= FULL_SPEED:
            self.slow_down()
        if refused:
            raise WebSocketEOF("the WebSocket has been closed")
        return answer

    def closed_error(self) -> WebSocketClosed:
        """Return the error that ``receive()`` raises at the end; it tells the view.

        Raises:
            PeerGone: See :meth:`note_vain_call`.
        """
        self.told = self.told or 1
        self.note_vain_call()
        code = self.connection.close_code or self.closed or 1006
        return WebSocketClosed(code, self.connection.close_reason)

    def note_vain_call(self) -> None:
        """Count a call on a closed connection; end a view that makes no other calls.

        Calls count only in the view's own thread. The count begins again when this
        thread has sent to another connection or to a group.

        Raises:
            PeerGone: The peer has gone, and the view has overlooked it.
        """
        if self._gone_timeout is None or not self._is_views():
            return
        turns = self.turns()
        now = time.monotonic()
        if not self._vain_calls or turns != self._vain_turns:
            self._vain_calls, self._vain_since, self._vain_turns = 1, now, turns
            return
        self._vain_calls += 1
        passed = now - self._vain_since
        if self._vain_calls >= _VAIN_CALLS and passed >= self._gone_timeout:
            # The count begins again, so that calls in a "finally" do not raise at once.
            self._vain_calls = 0
            self._told_gone += 1
            if self._told_gone == 2:
                _tell_swallowed()
            raise PeerGone(f"the peer has been gone for {passed:.0f} seconds")

    def note_failed_send(self) -> None:
        """Count a send that has failed, if the connection has ended.

        Raises:
            PeerGone: See :meth:`note_vain_call`.
        """
        connection = self.connection
        if not (self.has_ended() or connection.close_code):
            return
        taken = connection.stats["received_messages"] - connection.pending
        if taken != self._failed_at:
            self._failed_at, self._failed = taken, 0
            self._vain_calls = 0
        self._failed += 1
        self.note_vain_call()

    def _is_views(self) -> bool:
        """Return whether the calling thread (greenlet) runs the view."""
        if self._owner == self.me():
            return True
        return self.port is not None and self.port.runs_view()

    def failed_sends(self) -> int:
        """Return how many sends in a row have failed since the connection ended."""
        return self._failed

    def _sends_in_vain(self) -> bool:
        """Return whether failed sends have shown that the conversation is over.

        False while the view has messages to read, unless the view has stopped reading.
        """
        return bool(self._failed) and (
            not self.connection.pending
            or not self._failed_at
            or self._failed > _UNREAD_SENDS
        )

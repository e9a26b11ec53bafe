"""Carries messages between an ASGI server and a connection over a queue.

Each event loop has one :class:`Waker`: a descriptor that polls readable when some of
its connections have something to send, or room for a message again. So a message that
is sent to a thousand connections wakes the loop once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import weakref
from collections import deque
from collections.abc import Callable

from dwebsocket import _engine

from .protocol import Event, Receive, Send

__all__ = ("Carrier", "Waker", "carried")

logger = logging.getLogger("dwebsocket.asgi")

#: Messages that are taken out of a queue at once.
_BATCH = 64
#: The close codes that no frame carries (RFC 6455 section 7.4.1).
_NO_CODE, _ABNORMAL = 1005, 1006
_RESTART = 1012
#: Seconds for what waits, and again for the Close frame, of a connection whose task the
#: server cancels.
_LAST_WORDS = 0.5


class Waker:
    """Wakes the carriers of one event loop.

    Args:
        loop: The loop.

    Raises:
        OSError: The process has no descriptor left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queue = _engine.WakeQueue()
        self._calls: dict[int, Callable[[], None]] = {}
        self._tokens = itertools.count(1)
        loop.add_reader(self.queue.fileno(), self._wake)

    def enter(self, call: Callable[[], None]) -> int:
        """Return a number; whoever reports it to the queue has ``call`` called."""
        token = next(self._tokens)
        self._calls[token] = call
        return token

    def leave(self, token: int) -> None:
        """Forget a number; idempotent."""
        self._calls.pop(token, None)

    def _wake(self) -> None:
        for token in self.queue.drain():
            call = self._calls.get(token)
            if call is not None:
                call()


_wakers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Waker] = (
    weakref.WeakKeyDictionary()
)


def _waker(loop: asyncio.AbstractEventLoop) -> Waker:
    waker = _wakers.get(loop)
    if waker is None:
        waker = _wakers[loop] = Waker(loop)
    return waker


#: The carriers that run, in all event loops of this process.
_running: set[Carrier] = set()


def carried() -> int:
    """Return how many connections have messages that are carried."""
    return len(_running)


class Carrier:
    """Carries the messages of one connection; made in the event loop of the server.

    Raises:
        OSError: The process has no descriptor left.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waker = _waker(self._loop)
        #: What the engine reports to wake this carrier.
        self.queue = self._waker.queue
        self.token = self._waker.enter(self._wake)
        #: Wait for something to send, and for room.
        self._some: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._far: _engine.FarEnd | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        #: What has been taken out of the queue; the first may be on its way.
        self._events: deque[Event] = deque()
        #: Whether the writer takes no more, and whether a Close has been sent.
        self._is_leaving = self._has_closed = False
        #: Runs since the connection has ended, for so many seconds.
        self._patience: asyncio.TimerHandle | None = None
        self._seconds = 0.0

    def close(self) -> None:
        """Release the place in the loop; idempotent."""
        self._waker.leave(self.token)

    def _wake(self) -> None:
        # A report does not tell what it is of; both tasks look again.
        for future in (self._some, self._room):
            if future is not None and not future.done():
                future.set_result(None)
        far = self._far
        if far is not None and far.is_ended and self._patience is None:
            self._patience = self._loop.call_later(self._seconds, self._give_up)

    def _give_up(self) -> None:
        """Leave a server that does not get rid of the last messages."""
        for task in self._tasks:
            task.cancel()

    async def run(
        self, far: _engine.FarEnd, receive: Receive, send: Send, patience: float
    ) -> None:
        """Carry messages until one side has closed the connection.

        Args:
            far: The peer's end of the connection.
            receive: The server's.
            send: The server's.
            patience: Seconds that the server may take, after the connection has ended,
                to send what is left, and to report the end.
        """
        self._far, self._seconds = far, patience
        _running.add(self)
        reader = self._loop.create_task(self._read(far, receive))
        writer = self._loop.create_task(self._write(far, send))
        tasks = self._tasks = (reader, writer)
        # It may have ended already.
        self._wake()
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await asyncio.wait((reader,), timeout=patience)
        except asyncio.CancelledError:
            # The server stops: some servers then only cut the connection off.
            await self._last_words(far, send, writer)
            raise
        finally:
            far.hang_up()
            self._give_up()
            self._settle()
            # Last: the server may cancel this as well.
            await asyncio.gather(*tasks, return_exceptions=True)

    def _settle(self) -> None:
        """Release what the running has kept."""
        if self._patience is not None:
            self._patience.cancel()
        self._far, self._tasks = None, ()
        _running.discard(self)

    async def _last_words(
        self, far: _engine.FarEnd, send: Send, writer: asyncio.Task[None]
    ) -> None:
        """Send what waits, and a Close frame."""
        # The writer is not cut off: whether the peer got its message is unknown then.
        self._is_leaving = True
        self._wake()
        await asyncio.wait((writer,), timeout=_LAST_WORDS)
        if not writer.done():
            writer.cancel()
            await asyncio.wait((writer,), timeout=_LAST_WORDS)
        if self._has_closed:
            return
        if not self._events:
            self._events.extend(far.drain(_BATCH))
        else:
            # Cut off after all: what follows that message would come with a gap
            # before it, and the message itself perhaps twice.
            self._events.clear()
        if not self._events or self._events[-1]["type"] != "websocket.close":
            self._events.append(
                {"type": "websocket.close", "code": _RESTART, "reason": ""}
            )
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._say(far, send), _LAST_WORDS)

    async def _read(self, far: _engine.FarEnd, receive: Receive) -> None:
        """Give the connection what the peer sends."""
        try:
            while True:
                event = await receive()
                kind = event["type"]
                if kind == "websocket.receive":
                    text = event.get("text")
                    message = event["bytes"] if text is None else text
                    if not far.push(message):
                        await self._push(far, message)
                elif kind == "websocket.disconnect":
                    _note_end(far, event)
                    return
        except Exception as error:
            logger.debug("The server has failed to receive: %r", error)

    async def _push(self, far: _engine.FarEnd, message: str | bytes) -> None:
        """Wait for room for a message: meanwhile, the server reads no further one."""
        while True:
            self._room = self._loop.create_future()
            if far.arm_room():
                await self._room
            self._room = None
            if far.push(message) is not False:
                return

    async def _write(self, far: _engine.FarEnd, send: Send) -> None:
        """Send the peer what the connection sends, until it has sent a Close."""
        try:
            while not self._is_leaving:
                self._events.extend(far.drain(_BATCH))
                if self._events:
                    await self._say(far, send)
                    if self._has_closed:
                        return
                    continue
                self._some = self._loop.create_future()
                if far.arm():
                    await self._some
                self._some = None
                if far.is_over:
                    return
        except Exception as error:
            # The peer has gone (an OSError, by ASGI 2.4); the reader hears of it.
            logger.debug("The server has failed to send: %r", error)

    async def _say(self, far: _engine.FarEnd, send: Send) -> None:
        """Send what has been taken out of the queue, up to a Close."""
        while self._events:
            event = self._events[0]
            await send(event)
            self._events.popleft()
            if event["type"] == "websocket.close":
                self._has_closed = True
                # The server waits for the peer's half.
                far.close(event["code"], event["reason"])
                return


def _note_end(far: _engine.FarEnd, event: Event) -> None:
    """Tell the connection how the peer has ended it."""
    code = event.get("code")
    if code == _ABNORMAL:
        far.hang_up()
    else:
        far.close(None if code == _NO_CODE else code, event.get("reason") or "")

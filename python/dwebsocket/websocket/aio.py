"""The WebSocket of an asynchronous view."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic

from asgiref.sync import sync_to_async
from django.dispatch import Signal

from dwebsocket import _engine, hub, signals
from dwebsocket._engine import Joined
from dwebsocket.conf import arguments
from dwebsocket.conf.arguments import Seconds, seconds
from dwebsocket.exceptions import ReceiveTimeout
from dwebsocket.hub import Member
from dwebsocket.hub.messages import to_json
from dwebsocket.hub.waiting import acall
from dwebsocket.logins import following, rights
from dwebsocket.process.habits import Habit, serving

from . import membership
from .base import BaseWebSocket, Data, Received
from .dialects import CLASSIC, MODERN
from .endpoint import FULL_SPEED, PAUSE, Endpoint
from .parsing import strict_json
from .pending import Headers, accepting

if TYPE_CHECKING:
    from dwebsocket.conf.view_options import Overflow

__all__ = ("AsyncWebSocket", "TaskEndpoint")


class _NoCalls:
    """The synchronous calls of a view that has not begun."""

    #: The thread that makes the calls, or has open database connections.
    worker: Any = None

    def rest(self) -> None:
        """Do nothing."""


_NO_CALLS = _NoCalls()


class TaskEndpoint(Endpoint):
    """The server's end of a connection whose view is a task.

    Args:
        connection: The engine's connection.
        dialect: What the view's calls answer at the end.
        port: Receives and sends for the view's tasks.
    """

    __slots__ = ("calls", "habit", "late_by", "looking", "put", "take", "tasks")

    def __init__(
        self, connection: _engine.Connection, dialect: Any, tasks: _engine.TaskPort
    ) -> None:
        super().__init__(connection, dialect, None)
        self.go_on(connection, tasks)
        self.habit = Habit()
        #: The synchronous calls of the view.
        self.calls: Any = _NO_CALLS
        #: Seconds for which the next call that can wait holds up the view.
        self.late_by = 0.0
        #: The calls of ``can_read()`` that wait; None: the loop has no reader for them.
        self.looking: set[asyncio.Future[None]] | None = None

    def go_on(self, connection: _engine.Connection, tasks: _engine.TaskPort) -> None:
        """Make this endpoint use a connection from now on."""
        self.use(connection, None)
        self.tasks = tasks
        # Python looks up an attribute faster than a method.
        self.take, self.put = tasks.wait, tasks.offer

    def me(self) -> int:
        """Return a number that stands for the view whose task calls."""
        return id(serving.get())

    def turns(self) -> int:
        """Return how often the view's tasks have sent to others than its peer."""
        return self.habit.turns

    def slow_down(self) -> None:
        """Hold up the view in the next call that can wait without blocking the loop."""
        self.late_by = PAUSE

    async def pause(self) -> None:
        """Hold up a view that overlooks the end; let other tasks run in any case."""
        late_by, self.late_by = self.late_by, 0.0
        await asyncio.sleep(late_by)


def _note_all(looking: set[asyncio.Future[None]]) -> None:
    """Let all calls of ``can_read()`` of a WebSocket go on: the loop has one reader."""
    for come in looking:
        if not come.done():
            come.set_result(None)


class _Failed:
    """The answer to a message that was not accepted."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: TaskEndpoint) -> None:
        self._endpoint = endpoint

    def __await__(self) -> Generator[Any, Any, bool]:
        # A view that sends in a loop, and overlooks the end, must not stop the others.
        yield from self._endpoint.pause().__await__()
        return False


class _Messages(Generic[Received]):
    """The messages of a WebSocket, for ``async for``.

    Args:
        websocket: The WebSocket.
        ended: Returns what ``wait()`` answers at the end.
        heard: Sends the signal of a message.
    """

    __slots__ = ("_endpoint", "_heard", "_over", "_tell_end", "_websocket")

    def __init__(
        self,
        websocket: AsyncWebSocket[Received],
        endpoint: TaskEndpoint,
        ended: Callable[[bool], Awaitable[Any]],
        heard: Callable[[Any], None],
    ) -> None:
        self._websocket = websocket
        self._endpoint = endpoint
        self._tell_end = ended
        # The engine calls this one, and _ended().
        self._heard = heard
        self._over = False

    def __aiter__(self) -> _Messages[Received]:
        return self

    def __anext__(self) -> Awaitable[Received]:
        endpoint = self._endpoint
        if (
            self._over
            or endpoint.closed
            or endpoint.calls.worker is not None
            or self._websocket.handle is not None
        ):
            return self._next()
        # The end is for this object, not for the WebSocket.
        return endpoint.take(self)

    async def _next(self) -> Received:
        if self._over:
            raise StopAsyncIteration
        message = await self._websocket.wait()
        return self._last(message) if message is None else message

    async def _ended(self, raises: bool) -> Received:
        return self._last(await self._tell_end(raises))

    def _last(self, message: Any) -> Received:
        self._over = True
        if not self._endpoint.dialect.yields_end:
            raise StopAsyncIteration
        last: Received = message
        return last


class AsyncWebSocket(BaseWebSocket[Received]):
    """One connection of an asynchronous view (``async def``), in one of two dialects.

    The dialects are those of :class:`~dwebsocket.websocket.WebSocket`. What may wait is
    awaited, and an await that is cancelled loses no message. ``send()`` acts when it is
    called, from any thread or task; to await what it returns waits for room.

    For type checkers, ``AsyncWebSocket`` speaks the modern dialect,
    ``AsyncWebSocket[bytes]`` the classic one, and ``AsyncWebSocket[Any]`` either.

    Args:
        connection: The engine's connection.
        modern: Speak the modern dialect; False: the classic one.
        overflow: What a full outbox does (see the setting ``OVERFLOW``).
        send_timeout: Seconds for which an awaited send waits for room.
        subprotocol: The negotiated subprotocol; None if there is none.
        remote_address: The client's address and port.
        port: Makes the port by which the tasks of the view receive and send, for a
            policy of a full outbox and a time limit.
    """

    __slots__ = ()

    _endpoint: TaskEndpoint

    def __init__(
        self,
        connection: _engine.Connection,
        *,
        modern: bool = False,
        overflow: str = "auto",
        send_timeout: float = 30.0,
        subprotocol: str | None = None,
        remote_address: tuple[str, int] = ("", 0),
        port: Callable[[str, float | None], _engine.TaskPort],
    ) -> None:
        tasks = port(overflow, seconds(send_timeout))
        dialect = MODERN if modern else CLASSIC
        self._endpoint = TaskEndpoint(connection, dialect, tasks)
        self._overflow = overflow
        self._send_timeout = send_timeout
        self._protocol = None
        self.handle = None
        self.subprotocol = subprotocol
        self.remote_address = remote_address

    async def accept(
        self, subprotocol: str | None = None, headers: Headers | None = None
    ) -> None:
        """Open the WebSocket, in a view with ``accept="manual"``.

        Arguments and exceptions are those of
        :meth:`.WebSocket.accept <dwebsocket.websocket.WebSocket.accept>`.
        """
        await accepting(self._endpoint).accept(self, subprotocol, headers)

    def wait(
        self, timeout: Seconds | None = None
    ) -> Coroutine[Any, Any, Received | None]:
        """Return the next message, when it is there: ``await ws.wait()``.

        Args:
            timeout: Seconds to wait at most, any real number; None, less than 0 or
                infinity: no limit.

        Returns:
            The message; None after the timeout, and at the end.

        Raises:
            TypeError, ValueError: The timeout is not a number, or nan.
            EOFError: In the classic dialect, on a further call after the end.
        """
        if timeout is None and self._is_plain():
            return self._endpoint.take(self)
        return self._wait(None if timeout is None else seconds(timeout))

    async def _wait(self, timeout: float | None) -> Any:
        endpoint = self._endpoint
        if endpoint.closed:
            return await self._ended(False)
        self._let_go()
        message = await endpoint.tasks.wait(self, timeout)
        if message is not None and self.handle is not None:
            self._call_handle(message)
        return message

    def receive(self, timeout: Seconds | None = None) -> Coroutine[Any, Any, Received]:
        """Return the next message, when it is there: ``await ws.receive()``.

        Raises:
            WebSocketClosed: The connection is closed and every message was read.
            ReceiveTimeout: (a TimeoutError) No message came within ``timeout`` seconds.
        """
        if timeout is None and self._is_plain():
            return self._endpoint.tasks.receive(self)
        return self._receive(None if timeout is None else seconds(timeout))

    async def _receive(self, timeout: float | None) -> Any:
        endpoint = self._endpoint
        if endpoint.closed:
            return await self._ended(True)
        self._let_go()
        return await endpoint.tasks.receive(self, timeout)

    async def receive_json(self, timeout: Seconds | None = None) -> Any:
        """Return the next message, parsed as JSON.

        Raises:
            WebSocketClosed, ReceiveTimeout: As :meth:`receive` does.
            ValueError: The message is not JSON, or nested deeper than 128 levels.
        """
        message: Any = await self.receive(timeout)
        return strict_json(message)

    def __aiter__(self) -> _Messages[Received]:
        """Yield messages until the end (classic dialect: and the final None)."""
        return _Messages(self, self._endpoint, self._ended, self._heard)

    def __iter__(self) -> Any:
        """Refuse: an asynchronous view must not block.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "this WebSocket belongs to an async view: write 'async for message in "
            "request.websocket'"
        )

    def send(
        self,
        message: Data,
        binary: bool | None = None,
        *,
        overflow: Overflow | None = None,
        timeout: Seconds | None = None,
    ) -> Awaitable[bool]:
        """Send a message; on a closed connection do nothing.

        The message is on its way when the call returns. ``await`` waits until there is
        room for another one, which keeps a view from being faster than its peer.

        Args:
            message: ``str`` is sent as text. ``bytes`` are sent as binary in the modern
                dialect; in the classic one as text if they are valid UTF-8.
            binary: True: send as a binary message; False: as text, whatever the type.
            overflow: What a full outbox does; overrides the setting ``OVERFLOW``.
            timeout: Seconds that an await waits for room; overrides ``SEND_TIMEOUT``.
                Less than 0, or infinity: no limit.

        Returns:
            An awaitable of whether the message was accepted for sending. It need not be
            awaited, and may be awaited more than once.

        Raises:
            TypeError: The message is neither str nor bytes.
        """
        endpoint = self._endpoint
        given: Any = message
        if binary is None and message.__class__ is not str:
            binary = self._binary(message, None)
        habit = serving.get()
        if habit is not None and habit is not endpoint.habit:
            habit.turns += 1
        try:
            if overflow is None and timeout is None:
                sent = endpoint.put(given, binary)
            else:
                sent = endpoint.tasks.send(
                    given,
                    binary,
                    overflow or self._overflow,
                    seconds(self._send_timeout if timeout is None else timeout),
                )
        except (TypeError, UnicodeEncodeError):
            mended = arguments.message(message)
            if mended is message:
                raise
            return self.send(mended, binary, overflow=overflow, timeout=timeout)
        return self._fail() if sent is None else sent

    def _fail(self) -> Awaitable[bool]:
        self._endpoint.note_failed_send()
        if self._endpoint.failed_sends() > FULL_SPEED:
            self._endpoint.slow_down()
        return _Failed(self._endpoint)

    def send_json(self, data: Any, **kwargs: Any) -> Awaitable[bool]:
        """Send ``data`` as JSON text; see :meth:`send`.

        Args:
            data: Anything that Django's JSON encoder can encode.
            kwargs: Arguments of :func:`json.dumps`.

        Raises:
            TypeError: ``data`` has a value that JSON cannot express.
            ValueError: ``data`` has a number that JSON cannot express (``nan``,
                ``inf``).
        """
        return self.send(to_json(data, **kwargs), False)

    async def join(
        self,
        group: str,
        *,
        since: tuple[int, str] | None = None,
        history: int | None = None,
        ttl: float | None = None,
        presence: bool | None = None,
        info: Any = None,
        envelope: bool = False,
        was: Iterable[str] = (),
        reply: Any = None,
    ) -> Joined:
        """Become a member of a group; the membership ends with the connection.

        Arguments, result and exceptions are those of
        :meth:`.WebSocket.join <dwebsocket.websocket.WebSocket.join>`.
        """
        asked = membership.question(
            self._endpoint,
            group,
            since=since,
            history=history,
            ttl=ttl,
            presence=presence,
            info=info,
            envelope=envelope,
            was=was,
            reply=reply,
        )
        joined = membership.answer(self._endpoint, await acall(asked))
        if membership.note(self._endpoint, group):
            await self._emit(signals.group_joined, group=group)
        return joined

    async def leave(self, group: str, *, reply: Any = None) -> bool:
        """Leave a group; return whether the WebSocket was a member.

        Args:
            group: The group's name.
            reply: The number of the client's request; a "left" frame answers it.

        Raises:
            TypeError: The name is not a str.
        """
        left = membership.leave(self._endpoint, group, reply)
        if left:
            await self._emit(signals.group_left, group=group)
        return left

    async def members(self, group: str) -> list[Member]:
        """Return the present members of a group; see :meth:`.Group.members`."""
        return await hub.group(group).amembers()

    async def can_read(self, timeout: Seconds | None = 0.0) -> bool:
        """Return whether a message or the end arrives within ``timeout`` seconds."""
        endpoint = self._endpoint
        limit = seconds(timeout)
        if endpoint.has_ended() or endpoint.connection.pending or limit == 0:
            return endpoint.has_ended() or endpoint.connection.pending > 0
        loop = asyncio.get_running_loop()
        come: asyncio.Future[None] = loop.create_future()
        descriptor = endpoint.connection.fileno()
        looking = endpoint.looking
        if looking is None:
            looking = endpoint.looking = set()
            loop.add_reader(descriptor, _note_all, looking)
        looking.add(come)
        try:
            await asyncio.wait([come], timeout=limit)
        finally:
            looking.discard(come)
            if not looking:
                endpoint.looking = None
                loop.remove_reader(descriptor)
        return come.done()

    async def recheck(self) -> bool:
        """Return whether the login that opened the connection is still valid.

        See :meth:`.WebSocket.recheck <dwebsocket.websocket.WebSocket.recheck>`. The
        database is asked in the thread of the view's synchronous calls.
        """
        found = self._endpoint.rights
        if found is None:
            return not self._endpoint.connection.ended
        return await sync_to_async(rights.may_stay)(found)

    async def watch(
        self, interval: float = 30.0, allowed: Callable[[], bool] | None = None
    ) -> None:
        """Check the login from time to time, also while the view waits.

        Arguments and exceptions are those of
        :meth:`.WebSocket.watch <dwebsocket.websocket.WebSocket.watch>`.
        """
        found = self._to_watch(interval, allowed)
        await sync_to_async(following.begin)(found, interval)

    def _is_plain(self) -> bool:
        """Return whether the engine can receive without this object's help."""
        endpoint = self._endpoint
        return (
            not endpoint.closed
            and self.handle is None
            and endpoint.calls.worker is None
        )

    def _let_go(self) -> None:
        """Give database connections back before a wait."""
        endpoint = self._endpoint
        if not endpoint.connection.pending:
            endpoint.calls.rest()

    async def _emit(self, signal: Signal, **named: Any) -> None:
        """Send a signal; its receivers are synchronous and may use the database."""
        if signal.receivers:
            await sync_to_async(signals.emit)(signal, self, **named)

    # The engine calls these.

    def _heard(self, message: Any) -> None:
        signals.emit(signals.websocket_message, self, message=message)

    def _late(self, timeout: float) -> Any:
        raise ReceiveTimeout(f"no message within {timeout} seconds")

    async def _ended(self, raises: bool) -> Any:
        """Return or raise the answer of ``wait()`` or ``receive()`` at the end."""
        endpoint = self._endpoint
        try:
            if raises:
                if endpoint.told >= FULL_SPEED:
                    endpoint.slow_down()
                endpoint.told += 1
                raise endpoint.closed_error()
            return self._meet_end(endpoint.dialect.wait, None)
        finally:
            if endpoint.told > 1:
                # A view that overlooks the end must not stop the others.
                await endpoint.pause()

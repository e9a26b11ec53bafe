"""The client's WebSocket in an asynchronous test: the same, but awaited."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from dwebsocket.exceptions import WebSocketClosed

from .frames import Frame
from .handshake import connect
from .websocket import ClientWebSocket, of

__all__ = ("AsyncClientWebSocket", "aconnect")

T = TypeVar("T")


async def _in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a function that blocks in a thread, so that the test's loop goes on."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    return await loop.run_in_executor(None, lambda: context.run(function, *args))


class AsyncClientWebSocket:
    """A client's WebSocket whose calls are awaited; see :class:`ClientWebSocket`.

    Args:
        websocket: The same, for a synchronous test.
    """

    def __init__(self, websocket: ClientWebSocket) -> None:
        self._sync = websocket
        self._conversation = of(websocket)
        #: The response with the status 101, as Django's test client returns it.
        self.response = websocket.response

    @property
    def headers(self) -> Any:
        """The headers of the 101; names are compared without regard to case."""
        return self._sync.headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the view's decorator has chosen; None: none."""
        return self._sync.subprotocol

    @property
    def compressed(self) -> bool:
        """Whether the server has agreed to permessage-deflate."""
        return self._sync.compressed

    @property
    def close_code(self) -> int | None:
        """The code with which the server has closed; None while it has not."""
        return self._conversation.wire.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with the code; "" if there was none."""
        return self._conversation.wire.close_reason

    @property
    def view_error(self) -> BaseException | None:
        """The exception that has ended the view; leaving does not raise it any more."""
        self._conversation.seen = True
        return self._conversation.view.error

    async def send(self, message: str | bytes) -> None:
        """Send a message: str as text, bytes as binary."""
        await _in_thread(self._sync.send, message)

    async def send_json(self, data: Any) -> None:
        """Send a value as JSON text."""
        await _in_thread(self._sync.send_json, data)

    async def receive(self, timeout: float | None = 1.0) -> str | bytes:
        """Return the next message; a cancelled call takes none."""
        taken: list[str | bytes] = []
        cancelled = False

        def take() -> None:
            taken.append(self._conversation.take(timeout, lambda: cancelled))

        call = asyncio.ensure_future(_in_thread(take))
        try:
            await asyncio.shield(call)
        except asyncio.CancelledError:
            cancelled = True
            self._conversation.look()
            await asyncio.wait([call])
            if not call.cancelled():
                call.exception()
            self._conversation.put_back(taken)
            raise
        return taken[0]

    async def receive_json(self, timeout: float | None = 1.0) -> Any:
        """Return the next message, parsed as JSON."""
        return json.loads(await self.receive(timeout))

    async def receive_nothing(self, duration: float = 0.1) -> None:
        """Make sure that no message comes within ``duration`` seconds."""
        await _in_thread(self._sync.receive_nothing, duration)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Yield messages until the connection is closed."""
        while True:
            try:
                yield await self.receive()
            except WebSocketClosed:
                return

    async def ping(self, payload: bytes = b"ping", timeout: float = 1.0) -> None:
        """Send a ping, and wait for its pong."""
        await _in_thread(self._sync.ping, payload, timeout)

    async def send_frame(self, opcode: int, data: bytes = b"", **options: Any) -> None:
        """Send one frame as it is."""
        await _in_thread(lambda: self._sync.send_frame(opcode, data, **options))

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, frames or not."""
        await _in_thread(self._sync.send_bytes, data)

    async def receive_frame(self, timeout: float | None = 1.0) -> Frame:
        """Return the next frame; only with ``aconnect(raw=True)``."""
        return await _in_thread(self._sync.receive_frame, timeout)

    async def settle(self) -> None:
        """Let the views work until they rest; every other call does so, too."""
        await _in_thread(self._sync.settle)

    async def wait_closed(self, timeout: float | None = 1.0) -> int:
        """Wait until the server has closed the connection; return the code."""
        return await _in_thread(self._sync.wait_closed, timeout)

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close as a page does: the view gets what was sent before, then the end."""
        await _in_thread(self._sync.close, code, reason)

    async def drop(self) -> None:
        """Vanish without a Close frame."""
        await _in_thread(self._sync.drop)

    async def leave(self, error: BaseException | None = None) -> None:
        """Close with 1000, and wait for the view to end; leaving the block does so."""
        await _in_thread(self._sync.leave, error)

    async def __aenter__(self) -> AsyncClientWebSocket:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.leave(error)


class aconnect:
    """Open a WebSocket in an asynchronous test.

    Use it as ``async with aconnect(async_client, "/ws/") as ws:``, or await it. The
    arguments are those of :func:`~dwebsocket.testing.connect`; the client may be an
    ``AsyncClient``, too. The handshake runs where Django runs synchronous code, so
    that a view sees the transaction of the test.

    Raises:
        WebSocketRefused: The answer is a plain HTTP response.
    """

    def __init__(
        self,
        client: Any,
        path: str,
        *,
        prepare: Callable[[], Any] | None = None,
        note: Callable[[ClientWebSocket], None] | None = None,
        **options: Any,
    ) -> None:
        self._client = client
        self._path = path
        #: For the fixture: makes the client, and gets the WebSocket.
        self._prepare = prepare
        self._note = note
        self._options = options
        self._opened: AsyncClientWebSocket | None = None

    def __await__(self) -> Generator[Any, None, AsyncClientWebSocket]:
        return self._connect().__await__()

    async def _connect(self) -> AsyncClientWebSocket:
        opened = await sync_to_async(self._connect_in_thread, thread_sensitive=True)()
        if self._note is not None:
            self._note(opened)
        self._opened = AsyncClientWebSocket(opened)
        return self._opened

    def _connect_in_thread(self) -> ClientWebSocket:
        client = self._client if self._prepare is None else self._prepare()
        return connect(client, self._path, **self._options)

    async def __aenter__(self) -> AsyncClientWebSocket:
        return await self._connect()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.leave(error)

"""The conversation of an application with a peer."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import Any

from django.http import HttpResponseForbidden

from dwebsocket import context as contexts
from dwebsocket.asgi.protocol import EXTENSION, ASGIApplication, Event, Scope
from dwebsocket.exceptions import WebSocketClosed
from dwebsocket.process.habits import Habit, serving
from dwebsocket.process.reporting import shown
from dwebsocket.runners.acall import make_sensitive
from dwebsocket.runners.calls import Calls
from dwebsocket.runners.notice import Notice, notice
from dwebsocket.runners.tasks import runner
from dwebsocket.websocket.aio import AsyncWebSocket
from dwebsocket.websocket.endpoint import FULL_SPEED, PAUSE, of
from dwebsocket.wsgi.handoff import Handoff

from . import startup
from .answer import Accepted, Failed, Refused, accepted, refused

__all__ = ("Answer", "Talk")

logger = logging.getLogger("dwebsocket.view")

Answer = Accepted | Refused | Failed

#: RFC 6455 section 7.4.1: no Close frame; what ASGI takes for "no code" otherwise.
_ABNORMAL, _NO_CODE = 1006, 1005


class Talk:
    """An application's task, and the two functions by which it hears and speaks.

    The object is the view: the call of an asynchronous view whose WebSocket is open.

    Args:
        app: The application.
        name: The class or function that stands for it in the log.
        patience: Seconds that the application may take to end after its peer has gone;
            None: no limit.
        has_life: Whether the application hears of the life of the process.
    """

    def __init__(
        self, app: ASGIApplication, name: Any, patience: float | None, has_life: bool
    ) -> None:
        self.view_class = name
        self._app = app
        self._patience = patience
        self._has_life = has_life
        # The request's thread waits for the answer.
        self._lock = threading.Lock()
        self._notice: Notice | None = None
        self._answer: Answer | None = None
        # All below belongs to the event loop.
        self._path = ""
        self._handshake: Any = None
        #: Whether the call cancels the view itself when the peer has gone.
        self._cancels = False
        self._scope: Scope = {}
        self._calls: Any = None
        self._habit = Habit()
        self._task: asyncio.Task[None] | None = None
        #: Whether the WebSocket is open, when that is known.
        self._opened: asyncio.Future[bool] | None = None
        #: Set while the WebSocket may be open.
        self._websocket: AsyncWebSocket[Any] | None = None
        self._connected = False
        #: The event that tells of the end, and how often it was told.
        self._end: Event | None = None
        self._told = 0
        #: The beginning of a refusal, and its body so far.
        self._start: Event | None = None
        self._body = bytearray()
        #: Runs since the peer has gone; the messages that waited when it began.
        self._timer: asyncio.TimerHandle | None = None
        self._waited = 0
        self._given_up = False

    # The request's thread.

    def ask(self, scope: Scope, handoff: Handoff, limit: float) -> Answer | None:
        """Start the application; return its answer to the handshake.

        Args:
            scope: The scope.
            handoff: What opens the WebSocket if the application accepts.
            limit: Seconds to wait at most.

        Returns:
            The answer; None: there was none within the time, and the application is
            cancelled.

        Raises:
            RuntimeError: The event loop has ended.
        """
        self._notice = waiting = notice(asynchronous=True)
        self._scope = scope
        self._path = handoff.call.request.path
        self._cancels = handoff.call.cancels
        self._handshake = handoff.accepted.handshake
        runner.call(self._begin, handoff.context, handoff.call.carried)
        waiting.wait(limit)
        with self._lock:
            self._notice = None
            answer = self._answer
        if answer is None:
            runner.call(self._cancel)
        return answer

    def abandon(self) -> None:
        """Note that the WebSocket will not be opened; idempotent."""
        with suppress(RuntimeError):  # the loop has ended
            runner.call(self._abandon)

    # The event loop.

    def _begin(self, context: contexts.RequestContext, carried: Any) -> None:
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        self._calls = Calls(context.databases, carried)
        coroutine = self._run(context, carried)
        # The task gets a copy of this context.
        task = self._task = context.variables.run(loop.create_task, coroutine)
        task.set_name("websocket-application")
        task.add_done_callback(self._ended)

    async def _run(self, context: contexts.RequestContext, carried: Any) -> None:
        make_sensitive(self._calls)
        serving.set(self._habit)
        context.take_on()
        with contexts.applied(contexts.again(carried)):
            if self._has_life:
                self._scope["state"] = await startup.state_of(self._app)
            await self._app(self._scope, self.receive, self.send)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Take note that the application has ended."""
        self._calls.end()
        if self._timer is not None:
            self._timer.cancel()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._decide(Failed(error)):
            return
        # Otherwise, the view gets the error.
        if self._websocket is None and not (
            task.cancelled() or error is None or isinstance(error, WebSocketClosed)
        ):
            logger.error(
                "Error in the ASGI application of %s, which has not opened the "
                "WebSocket",
                shown(self._path),
                exc_info=error,
            )

    def _decide(self, answer: Answer) -> bool:
        """Answer the handshake; return whether that is still possible."""
        with self._lock:
            if self._answer is not None or self._notice is None:
                return False
            self._answer = answer
            self._notice.set()
            return True

    def _cancel(self) -> None:
        self._abandon()
        if self._task is not None:
            self._task.cancel()

    def _abandon(self) -> None:
        opened = self._opened
        if opened is None or opened.done():
            return
        opened.set_result(False)
        self._end = _disconnected(_ABNORMAL, "")
        self._begin_to_wait()

    async def __call__(self, request: Any) -> None:
        """Let the application go on: its WebSocket is open. Return when it has ended.

        Args:
            request: The request, with the WebSocket.
        """
        task, opened = self._task, self._opened
        if task is None or opened is None:
            raise RuntimeError("the application was not started")
        websocket: AsyncWebSocket[Any] = request.websocket
        endpoint: Any = of(websocket)
        endpoint.calls, endpoint.habit = self._calls, self._habit
        self._websocket = websocket
        self._scope["extensions"]["dwebsocket"]["websocket"] = websocket
        if not opened.done():
            opened.set_result(True)
        if not self._cancels:
            endpoint.tasks.at_end(self._begin_to_wait)
        try:
            await task
        except asyncio.CancelledError:
            if not self._given_up:
                raise
        finally:
            endpoint.tasks.forget_end()

    def _begin_to_wait(self) -> None:
        """Note that the peer has gone: the application may take a while to end."""
        task = self._task
        if task is None or task.done():
            return
        if self._timer is None and self._patience is not None:
            self._waited = self._pending()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._patience, self._lose_patience)

    def _pending(self) -> int:
        websocket = self._websocket
        return 0 if websocket is None else of(websocket).connection.pending

    def _lose_patience(self) -> None:
        self._timer = None
        task = self._task
        if task is None or task.done():
            return
        if self._pending() == self._waited:
            if not self._given_up:
                logger.warning(
                    "The ASGI application of %s was still running %s seconds after "
                    "its client had gone, and was cancelled (end_timeout)",
                    shown(self._path),
                    self._patience,
                )
            self._given_up = True
            task.cancel()
        # It still takes messages that came before the end; or it may overlook this.
        self._begin_to_wait()

    # The application.

    async def receive(self) -> Event:
        """Return the next event, when it is there; the first one is always the same."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        websocket = self._websocket
        if websocket is not None and self._end is None:
            message = await websocket.wait()
            if message.__class__ is str:
                return {"type": "websocket.receive", "text": message}
            if message is not None:
                return {"type": "websocket.receive", "bytes": message}
            return self._tell_end(websocket)
        if self._end is None and self._opened is not None:
            # shield(): a cancelled receive() must not cancel the future of all.
            await asyncio.shield(self._opened)
            if self._websocket is not None:
                return await self.receive()
        if self._end is None:
            self._end = _disconnected(_ABNORMAL, "")
        self._told += 1
        if self._told > FULL_SPEED:
            # An application that overlooks the end must not stop the others.
            await asyncio.sleep(PAUSE)
        return dict(self._end)

    def _tell_end(self, websocket: AsyncWebSocket[Any]) -> Event:
        endpoint = of(websocket)
        connection = endpoint.connection
        code = endpoint.closed or connection.close_code or _NO_CODE
        self._end = _disconnected(code, connection.close_reason)
        self._told = 1
        return dict(self._end)

    async def send(self, event: Event) -> None:
        """Do what an event says.

        Raises:
            WebSocketClosed: (an OSError) The connection has ended.
            RuntimeError: The event does not fit.
            ValueError: The event has a value that cannot be sent.
        """
        kind = event["type"]
        websocket = self._websocket
        if websocket is None:
            await self._answer_handshake(kind, event)
        elif kind == "websocket.send":
            text = event.get("text")
            if text is not None:
                sent = websocket.send(text, False)
            else:
                sent = websocket.send(event["bytes"], True)
            if not await sent and of(websocket).has_ended():
                raise self._closed(websocket)
        elif kind == "websocket.close":
            code = event.get("code")
            websocket.close(1000 if code is None else code, event.get("reason") or "")
        else:
            raise RuntimeError(f"{kind!r} does not fit: the WebSocket is open")

    def _closed(self, websocket: AsyncWebSocket[Any]) -> WebSocketClosed:
        endpoint = of(websocket)
        connection = endpoint.connection
        code = endpoint.closed or connection.close_code or _ABNORMAL
        return WebSocketClosed(code, connection.close_reason)

    async def _answer_handshake(self, kind: str, event: Event) -> None:
        """Do what an event says before the WebSocket is open."""
        if self._end is not None:
            if kind == "websocket.close":
                return
            raise WebSocketClosed()
        if kind == "websocket.accept":
            await self._accept(accepted(event, self._handshake))
        elif kind == "websocket.close":
            why = str(event.get("reason") or "")
            response = HttpResponseForbidden(why, content_type="text/plain")
            self._refuse(Refused(response, why or "the application has closed it"))
        elif kind == f"{EXTENSION}.start" and self._start is None:
            refused(event, b"", self._handshake)  # raises what is wrong with it
            self._start = event
        elif kind == f"{EXTENSION}.body" and self._start is not None:
            self._body += event.get("body") or b""
            if not event.get("more_body"):
                body = bytes(self._body)
                self._refuse(refused(self._start, body, self._handshake))
        else:
            raise RuntimeError(f"{kind!r} does not fit: the WebSocket is not open yet")

    async def _accept(self, answer: Accepted) -> None:
        """Have the WebSocket opened; return when it is."""
        opened = self._opened
        if not self._decide(answer) or opened is None:
            raise WebSocketClosed()
        if not await asyncio.shield(opened):
            raise WebSocketClosed()

    def _refuse(self, answer: Refused) -> None:
        if not self._decide(answer):
            raise WebSocketClosed()
        self._abandon()


def _disconnected(code: int, reason: str) -> Event:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}

"""The beginning and the end of the process, for applications that want to hear of it.

The first handshake of an application starts its scope ``lifespan``, in the event loop
of the views. The stop of the process ends the scope, when the views have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
from typing import Any

from dwebsocket.asgi.protocol import ASGIApplication, Event
from dwebsocket.process import exit
from dwebsocket.process.reporting import name_of
from dwebsocket.runners.acall import make_sensitive
from dwebsocket.runners.calls import Calls
from dwebsocket.runners.tasks import runner

from .naming import named
from .scope import ASGI

__all__ = ("state_of",)

logger = logging.getLogger("dwebsocket.asgi")

#: The least time for that, in seconds.
_FLOOR = 0.5


class _Life:
    """One application's scope ``lifespan``; made in the event loop.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApplication) -> None:
        self.app = app
        self.name = name_of(named(app))
        self.state: dict[str, Any] = {}
        loop = asyncio.get_running_loop()
        #: The message of a failed beginning; None: the application has begun.
        self.begun: asyncio.Future[str | None] = loop.create_future()
        self._asked = False
        self._stopping = asyncio.Event()
        self._calls = Calls()
        # The values of the first handshake's context are not the application's.
        self.task = contextvars.Context().run(loop.create_task, self._run())
        self.task.set_name("websocket-lifespan")

    def stop(self) -> None:
        """Tell the application that the process ends."""
        self._stopping.set()

    async def _run(self) -> None:
        make_sensitive(self._calls)
        scope = {"type": "lifespan", "asgi": ASGI, "state": self.state}
        try:
            await self.app(scope, self._receive, self._send)
        except Exception as error:
            if self.begun.done():
                if self.begun.result() is None:
                    logger.exception("The lifespan of %s has failed", self.name)
            else:
                # Not to know this scope is allowed, and is told in this way.
                logger.debug("%s has no lifespan: %r", self.name, error)
        finally:
            self._settle(None)
            self._calls.end()

    def _settle(self, failure: str | None) -> None:
        if not self.begun.done():
            self.begun.set_result(failure)

    async def _receive(self) -> Event:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        # An application that goes on without an answer does not look at the type.
        self._settle(None)
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: Event) -> None:
        kind = event["type"]
        if kind == "lifespan.startup.complete":
            self._settle(None)
        elif kind == "lifespan.startup.failed":
            self._settle(str(event.get("message") or "no message"))
        elif kind == "lifespan.shutdown.failed":
            logger.error(
                "The lifespan of %s has not ended well: %s",
                self.name,
                event.get("message") or "no message",
            )
        elif kind != "lifespan.shutdown.complete":
            raise RuntimeError(f"{kind!r} does not fit in the scope 'lifespan'")


#: By the ids of the applications.
_lives: dict[int, _Life] = {}


async def state_of(app: ASGIApplication) -> dict[str, Any]:
    """Return a copy of an application's state, when the application has begun.

    Raises:
        RuntimeError: The application could not begin; the next handshake tries again.
    """
    life = _lives.get(id(app))
    if life is None:
        life = _lives[id(app)] = _Life(app)
    # shield(): a client that does not wait must not disturb the others.
    failure = await asyncio.shield(life.begun)
    if failure is not None:
        if _lives.get(id(app)) is life:
            del _lives[id(app)]
        raise RuntimeError(f"{life.name} could not start (lifespan): {failure}")
    return dict(life.state)


def _end(timeout: float) -> bool:
    """Let the applications end; wait for that.

    Args:
        timeout: Seconds to wait at most.

    Returns:
        True: an application that has not ended is no view.
    """
    lives = list(_lives.values())
    _lives.clear()
    if not lives:
        return True
    with contextlib.suppress(RuntimeError):  # the loop has ended
        for life in lives:
            runner.call(life.stop)
        exit.wait_until(
            lambda: all(life.task.done() for life in lives), max(timeout, _FLOOR)
        )
    for life in lives:
        if not life.task.done():
            logger.warning("The lifespan of %s has not ended in time", life.name)
    return True


exit.let_end(_end)
os.register_at_fork(after_in_child=_lives.clear)

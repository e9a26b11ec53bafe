"""The beginning and the end of an ASGI server's process."""

from __future__ import annotations

import asyncio

from .protocol import AnyApplication, Event, Receive, Scope, Send
from .stopping import depart

__all__ = ("live",)

#: What the server calls at its end, by this word in the types of the events.
_SHUTDOWN = "lifespan.shutdown"


async def live(
    inner: AnyApplication, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve the scope ``lifespan``, for an application that may not know it.

    Connections are closed before the application hears of the end.

    Args:
        inner: The application, such as Django's, which raises an exception.
        scope: The scope.
        receive: The server's.
        send: The server's.
    """
    answered = over = False
    pending: list[Event] = []

    async def hear() -> Event:
        event = await receive()
        pending.append(event)
        if event["type"] == _SHUTDOWN:
            await asyncio.get_running_loop().run_in_executor(None, depart)
        return event

    async def tell(event: Event) -> None:
        nonlocal answered, over
        answered = True
        over = event["type"] != "lifespan.startup.complete"
        pending.clear()
        await send(event)

    try:
        await inner(scope, hear, tell)
    except Exception:
        if answered:
            raise
    while not over:
        event = pending[0] if pending else await hear()
        await tell({"type": f"{event['type']}.complete"})

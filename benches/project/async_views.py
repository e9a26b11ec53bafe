"""The views that are measured, as tasks."""

from __future__ import annotations

from django.http import HttpResponse

from dwebsocket import hub, websocket

GROUP = "room"


def hello(request):
    """Answer plain HTTP."""
    return HttpResponse("hello")


@websocket
async def echo(request):
    """Send every message back."""
    ws = request.websocket
    async for message in ws:
        await ws.send(message)


@websocket
async def member(request):
    """Listen to a group."""
    await request.websocket.join(GROUP)
    async for _ in request.websocket:
        pass


@websocket
async def publish(request):
    """Send every message to the group."""
    group = hub.group(GROUP)
    async for message in request.websocket:
        await group.asend(message)

"""Asynchronous views, with the calls of the synchronous ones."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from dwebsocket import accept_websocket, require_websocket, websocket
from dwebsocket.runners import tasks

from . import script
from .report import Report


async def drain(ws: Any) -> list[Any]:
    """Iterate to the end and return every item."""
    return [item async for item in ws]


async def iterate_once(ws: Any) -> Any:
    """Return the first item of an iteration, or "stopped"."""
    async for item in ws:
        return [item]
    return "stopped"


async def send_until_closed(ws: Any, limit: int = 2000) -> bool:
    """Send, and read nothing, until ``is_closed()``."""
    for _ in range(limit):
        await ws.send("are you there?")
        if ws.is_closed():
            return True
        await asyncio.sleep(0.01)
    return False


async def wait_in_task(ws: Any) -> list[Any]:
    """Wait in another task, close from this one, return what the waiter got."""
    got: list[Any] = []

    async def waiter() -> None:
        try:
            got.append(await ws.wait())
        except Exception as error:
            got.append(repr(error))

    task = asyncio.create_task(waiter())
    await asyncio.sleep(0.01)
    ws.close()
    await asyncio.wait([task], timeout=10)
    return got or ["still waiting"]


async def two_waiters(ws: Any) -> list[str]:
    """Wait in two tasks for the one end; return what each met."""

    async def waiter() -> str:
        try:
            return repr(await ws.wait())
        except Exception as error:
            return "EOFError" if isinstance(error, EOFError) else type(error).__name__

    return sorted(await asyncio.gather(waiter(), waiter()))


async def spin(ws: Any, count: int) -> list[float]:
    """Ask again and again, as a loop that overlooks the end; return the durations."""
    durations = []
    for _ in range(count):
        start = time.monotonic()
        with contextlib.suppress(Exception):
            await ws.wait()
        durations.append(time.monotonic() - start)
    return durations


async def timed_wait(ws: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """Return what wait() gave, and whether it took as long as it was told."""
    start = time.monotonic()
    message = await ws.wait(*args, **kwargs)
    return [message, time.monotonic() - start]


async def poll(ws: Any, seconds: float = 20) -> bool:
    """Wait, as old code does, until the socket has something to read."""
    return await asyncio.to_thread(script.poll, ws, seconds)


async def close_in_thread(ws: Any) -> bool:
    """Close from another thread, twice."""
    return await asyncio.to_thread(script.close_in_thread, ws)


EXTRA: dict[str, Callable[..., Any]] = {
    **script.EXTRA,
    "close_in_thread": close_in_thread,
    "drain": drain,
    "iterate_once": iterate_once,
    "poll": poll,
    "send_until_closed": send_until_closed,
    "spin": spin,
    "timed_wait": timed_wait,
    "two_waiters": two_waiters,
    "wait_in_thread": wait_in_task,
}


async def _outcome(
    report: Report, event: str, call: Any, *args: Any, **kw: Any
) -> None:
    """Make a call, await it if need be, and tell what came of it."""
    try:
        value = call(*args, **kw)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:
        names = [c.__name__ for c in type(error).__mro__[:-2]]
        report(event, {"raised": names, "text": str(error)})
    else:
        report(event, value)


async def run(request: Any) -> None:
    """Make the calls one after the other; report each outcome under its number."""
    report = Report(request)
    ws = request.websocket
    for number, (name, *args) in enumerate(json.loads(request.GET["ops"])):
        event = f"{number} {name}"
        if name == "send_value":
            await _outcome(report, event, ws.send, *args)
            continue
        kwargs = args.pop() if args and isinstance(args[-1], dict) else {}
        if name in EXTRA:
            await _outcome(report, event, EXTRA[name], ws, *args, **kwargs)
        else:
            await _outcome(report, event, getattr(ws, name), *args, **kwargs)
    report("end")


@accept_websocket
async def scripted(request: HttpRequest) -> None:
    """Make the calls that the test has chosen."""
    await run(request)


@websocket
async def modern(request: HttpRequest) -> None:
    """Speak the modern dialect."""
    await run(request)


@accept_websocket
async def echo(request: Any) -> HttpResponse | None:
    """Send back what comes; answer plain HTTP."""
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    async for message in request.websocket:
        if message is None:
            break
        await request.websocket.send(message)
    return None


def _query() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 40 + 2")
        return str(cursor.fetchone()[0])


@require_websocket
async def query(request: Any) -> None:
    """Run a query for every message, and say in which thread."""
    ws = request.websocket
    while await ws.wait() is not None:
        await ws.send(await sync_to_async(_query)())


@require_websocket
async def threads(request: Any) -> None:
    """Say whether the loop's thread is a real one, apart from the server's."""
    task = asyncio.current_task()
    assert task is not None
    elsewhere = await asyncio.to_thread(threading.get_native_id)
    here = threading.get_native_id()
    request.websocket.send(json.dumps([task.get_name(), here, elsewhere != here]))
    await request.websocket.wait()


@require_websocket
async def raises(request: Any) -> None:
    """Raise."""
    await request.websocket.send("before")
    raise ZeroDivisionError("the view's own mistake")


@require_websocket(cancel_on_disconnect=True)
async def cancelled(request: Any) -> None:
    """Sleep until the peer goes."""
    report = Report(request)
    report("open")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        report("cancelled")
        raise


@require_websocket(cancel_on_disconnect=True)
async def left(request: Any) -> None:
    """Query the database, then end in one of several ways; nothing may stay behind."""
    report = Report(request)
    ws = request.websocket
    helper = asyncio.create_task(asyncio.sleep(120))
    try:
        await sync_to_async(_query)()
        await ws.send("begun")
        how = request.GET["how"]
        if how == "raise":
            raise ZeroDivisionError("on purpose")
        if how == "cancel":
            await asyncio.sleep(120)
        if how == "outlive":
            await asyncio.shield(asyncio.sleep(120))
    finally:
        helper.cancel()
        await sync_to_async(_query)()
        report(f"ended {request.GET['how']}")


def remains(request: HttpRequest) -> JsonResponse:
    """Say what is left of the asynchronous views in this process."""
    gc.collect()
    loop = tasks.runner._loop
    names = (
        [] if loop is None else [t.get_name() for t in asyncio.all_tasks(loop.asyncio)]
    )
    return JsonResponse({"views": tasks.runner.count(), "tasks": names})


@websocket
async def cancels(request: Any) -> None:
    """Cancel 5,000 receives while messages arrive; send back what was received."""
    ws = request.websocket
    count = int(request.GET["count"])
    chance = random.Random(7)
    got: list[str] = []
    cancelled = 0
    await ws.send("ready")
    while len(got) < count or cancelled < 5_000:
        task = asyncio.create_task(ws.receive())
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            got.append(await task)
        except asyncio.CancelledError:
            cancelled += 1
    await ws.send(json.dumps([cancelled, got]))


@require_websocket
async def stubborn(request: Any) -> None:
    """Do not care about the end."""
    Report(request)("open")
    await asyncio.sleep(120)

"""Views that accept by hand: what they do is in the query."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from dwebsocket import websocket

from .report import Report


def _refuse(request: Any) -> HttpResponse | None:
    """Refuse if the query says so."""
    if "session" in request.GET:
        request.session["decided"] = "yes"
        request.session.save()
    kind = request.GET["do"]
    if kind == "redirect":
        return HttpResponseRedirect("/login")
    if kind == "refuse":
        return HttpResponse("the view says no", status=410)
    if kind == "raise":
        raise PermissionDenied("the view raises")
    return None


def _arguments(request: Any) -> dict[str, Any]:
    return {
        "subprotocol": request.GET.get("subprotocol"),
        "headers": [("X-Decided", "by hand"), ("Set-Cookie", "decided=1")],
    }


@websocket(accept="manual", accept_timeout=2.0)
def sync(request: Any) -> HttpResponse | None:
    """Decide in a thread or a greenlet."""
    report = Report(request)
    refusal = _refuse(request)
    if refusal is not None:
        return refusal
    if request.GET["do"] == "late":
        time.sleep(4)
    if request.GET["do"] == "slow":
        report("deciding")
        time.sleep(0.7)
    ws = request.websocket
    report("accept")
    report.outcome("accepted", ws.accept, **_arguments(request))
    for message in ws:
        ws.send(message)
    report("end")
    return None


def _dwell(report: Report) -> None:
    """Stay in a transaction for longer than the view may take to decide."""
    with transaction.atomic():
        Group.objects.count()
        report("inside")
        time.sleep(1.0)
        Group.objects.count()
        report("done")


@websocket(accept="manual", accept_timeout=0.2)
def dwells(request: Any) -> None:
    """Query in a transaction, and go on when the time is over."""
    _dwell(Report(request))


@websocket(accept="manual", accept_timeout=0.2)
async def task_dwells(request: Any) -> None:
    """Do the same in a task."""
    await sync_to_async(_dwell)(Report(request))


def count(request: HttpRequest) -> HttpResponse:
    """Answer plain HTTP with a query."""
    return HttpResponse(str(Group.objects.count()))


def _backend() -> str:
    """Say which connection to PostgreSQL this is, and whether in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return f"{cursor.fetchone()[0]} {connection.in_atomic_block}"


@websocket(accept="manual")
def backends(request: Any) -> None:
    """Ask the database before and after ``accept()``, and at each message."""
    before = _backend()
    request.websocket.accept()
    request.websocket.send(before)
    request.websocket.send(_backend())
    while request.websocket.wait() is not None:
        request.websocket.send(_backend())


@websocket(accept="manual")
async def task_backends(request: Any) -> None:
    """Do the same in a task."""
    ask = sync_to_async(_backend)
    before = await ask()
    await request.websocket.accept()
    await request.websocket.send(before)
    await request.websocket.send(await ask())
    while await request.websocket.wait() is not None:
        await request.websocket.send(await ask())


@websocket(accept="manual", accept_timeout=2.0)
async def task(request: Any) -> HttpResponse | None:
    """Decide in a task."""
    report = Report(request)
    refusal = await sync_to_async(_refuse)(request)
    if refusal is not None:
        return refusal
    if request.GET["do"] == "late":
        await asyncio.sleep(60)
    if request.GET["do"] == "slow":
        report("deciding")
        await asyncio.sleep(0.7)
    ws = request.websocket
    report("accept")
    await ws.accept(**_arguments(request))
    report("accepted")
    async for message in ws:
        await ws.send(message)
    report("end")
    return None

"""The views of the hub's benchmarks."""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse, JsonResponse

from dwebsocket import hub, push, websocket

GROUP = "room"
# Keeps its latest messages, by the settings.
KEPT = "kept.room"

timings: list[int] = []


def hello(request: HttpRequest) -> HttpResponse:
    """Answer plain HTTP."""
    return HttpResponse("hello")


@websocket
def member(request: HttpRequest, group: str) -> None:
    """Listen to a group."""
    request.websocket.join(group)
    for _ in request.websocket:
        pass


@websocket
def publish(request: HttpRequest, group: str) -> None:
    """Send every message to the group."""
    for message in request.websocket:
        hub.group(group).send(message)


@websocket
def timed(request: HttpRequest) -> None:
    """Push every message to the group, and note how long that took."""
    for message in request.websocket:
        began = time.perf_counter_ns()
        push.to_group(GROUP, message)
        timings.append(time.perf_counter_ns() - began)


def taken(request: HttpRequest) -> JsonResponse:
    """Tell how many nanoseconds each push took."""
    return JsonResponse({"timings": timings})

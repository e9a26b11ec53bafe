"""The views of the hub's benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from dwebsocket import hub, push, websocket

GROUP = "room"
USER = 7
# A group that keeps its latest messages, by the settings.
KEPT = "kept.room"

Message = str | bytes

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
def timed(request: HttpRequest, to: str) -> None:
    """Push every message to a group, a user or everybody; note how long that took."""
    calls: dict[str, Callable[[Message], object]] = {
        "group": lambda message: push.to_group(GROUP, message),
        "user": lambda message: push.to_user(USER, message),
        "all": push.to_all,
    }
    call = calls[to]
    for message in request.websocket:
        began = time.perf_counter_ns()
        call(message)
        timings.append(time.perf_counter_ns() - began)


def taken(request: HttpRequest) -> JsonResponse:
    """Return how many nanoseconds each push took."""
    return JsonResponse({"timings": timings})


class OneUser:
    """A middleware that logs every visitor in as the same user."""

    is_authenticated = True
    pk = USER

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Remember the function that answers the request."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request as one of this user."""
        request.user = self  # type: ignore[assignment]
        return self.get_response(request)

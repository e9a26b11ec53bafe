"""Plain requests of HTTP, from which messages are sent to all kinds of views."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse

from dwebsocket import hub, monitor, push


def publish(request: HttpRequest) -> JsonResponse:
    """Send to a group or to a user."""
    group = request.GET.get("group")
    message = "m" * int(request.GET.get("size", 1))
    count = int(request.GET.get("count", 1))
    local = dropped = 0
    for _ in range(count):
        if group:
            sent: Any = hub.group(group).send(message)
        else:
            sent = push.to_user(int(request.GET["user"]), {"pushed": True})
        local, dropped = sent.local, dropped + sent.dropped
    return JsonResponse({"local": local, "dropped": dropped})


def members(request: HttpRequest) -> JsonResponse:
    """Count the members of a group."""
    return JsonResponse({"count": hub.group(request.GET["group"]).count()})


def places(request: HttpRequest) -> JsonResponse:
    """Say where the monitor sees the server's connections, and those of a path."""
    path = request.GET["path"]
    rows = monitor.connections(limit=500, search=path, scope="machine").rows
    site = monitor.site("machine")
    return JsonResponse(
        {
            "rows": [[row.path, row.view, row.transport] for row in rows],
            "kinds": [list(kind) for one in site.machines for kind in one.views()],
        }
    )

"""A site whose WebSockets the staff watches."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import include, path

from dwebsocket import websocket


@websocket
def room(request: Any, name: str) -> None:
    """Send back what comes, as a member of a group."""
    if name.isprintable():
        request.websocket.join(name)
    request.websocket.send("joined")
    for message in request.websocket:
        request.websocket.send(message)


urlpatterns = [
    path("room/<path:name>", room),
    path("admin/websockets/", include("dwebsocket.contrib.monitor.urls")),
    path("admin/", admin.site.urls),
]

"""The Django site of the servers, and of the program that publishes."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from dwebsocket import websocket
from dwebsocket.session import Session

from .groups import PREFIX, SEEN

#: More than is published while a client is away.
HISTORY = int(os.environ.get("KILL_HISTORY", "5000"))
KEPT = {"history": HISTORY, "ttl": 900, "presence": False}

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    DWEBSOCKET={
        "BROKER": os.environ["KILL_BROKER"],
        "GROUPS": {f"{PREFIX}*": KEPT, f"{SEEN}*": {**KEPT, "presence": True}},
        "OUTBOX_MESSAGES": 65_536,
    },
)


class Everything(Session):
    """A client may join what it likes."""

    def may_join(self, group: str) -> bool:
        return True

    def may_publish(self, group: str, data: Any) -> bool:
        return False


def ready(request: HttpRequest) -> HttpResponse:
    """Answer who waits for the server to start."""
    return HttpResponse("ready")


@websocket
def serve(request: Any) -> None:
    """Speak the protocol."""
    Everything(request.websocket, request).run()


urlpatterns = [path("ready", ready), path("ws", serve)]
application = get_wsgi_application()

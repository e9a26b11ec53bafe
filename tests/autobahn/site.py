"""The Django site that the suite talks to: one echo view of the modern dialect."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from dwebsocket import websocket

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    DWEBSOCKET={
        # 9.* sends messages of up to 16 MiB, some of 4 MiB in frames of 64 bytes.
        "MAX_MESSAGE_SIZE": 32 * 1024 * 1024,
        # 12.* and 13.* are about compression: nothing is too short for it.
        "COMPRESSION": os.environ.get("AUTOBAHN_COMPRESSION", "dedicated"),
        "COMPRESSION_THRESHOLD": 0,
    },
)


def ready(request: HttpRequest) -> HttpResponse:
    """Answer who waits for the server to start."""
    return HttpResponse("ready")


@websocket
def echo(request: Any) -> None:
    """Send back what comes."""
    for message in request.websocket:
        request.websocket.send(message)


urlpatterns = [path("ready", ready), path("", echo)]
application = get_wsgi_application()

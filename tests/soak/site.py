"""The site of the soak: the kill test's, an echo, and a group with slow readers."""

from __future__ import annotations

from typing import Any

from django.urls import path

from dwebsocket import hub, websocket
from tests.kill import site

WIDE = "soak.wide"


@websocket
def echo(request: Any) -> None:
    """Send back what comes."""
    for message in request.websocket:
        request.websocket.send(message)


@websocket
def wide(request: Any) -> None:
    """Be in the group whose messages nobody of the noise reads fast enough."""
    request.websocket.join(WIDE)
    for _ in request.websocket:
        pass


@websocket
def talk(request: Any) -> None:
    """Send what comes to that group."""
    for message in request.websocket:
        hub.group(WIDE).send(message)


site.urlpatterns += [path("echo", echo), path("wide", wide), path("talk", talk)]
application = site.application

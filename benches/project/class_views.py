"""The views that are measured, as classes with handlers."""

from __future__ import annotations

from django.http import HttpResponse

from dwebsocket import WebSocketView, hub

GROUP = "room"


def hello(request):
    """Answer plain HTTP."""
    return HttpResponse("hello")


class Echo(WebSocketView):
    """Send every message back."""

    def on_message(self, message):
        self.websocket.send(message)


class Member(WebSocketView):
    """Listen to a group."""

    groups = [GROUP]


class Publish(WebSocketView):
    """Send every message to the group."""

    def on_open(self):
        self.room = hub.group(GROUP)

    def on_message(self, message):
        self.room.send(message)

"""The views that are measured, as classes with handlers."""

from __future__ import annotations

from django.http import HttpResponse, JsonResponse

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


class Listener(Echo):
    """Send every message back, and listen to a group."""

    groups = [GROUP]
    latest = ""

    def on_message(self, message):
        Listener.latest = message
        super().on_message(message)


def push(request):
    """Send the latest message of a Listener to all of them."""
    return JsonResponse({"reached": hub.group(GROUP).send(Listener.latest).local})

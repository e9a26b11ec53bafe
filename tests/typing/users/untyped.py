"""Old code without annotations, as type checkers see it that are not strict."""

# pyright: basic
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-calls=False, disallow-untyped-decorators=False

from __future__ import annotations

import functools
import threading

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.generic import TemplateView, View

from dwebsocket.decorators import accept_websocket, require_websocket, websocket
from dwebsocket.factory import WebSocketFactory
from dwebsocket.middleware import WebSocketMiddleware
from dwebsocket.websocket import WebSocket

clients: list[WebSocket] = []
lock = threading.RLock()


@accept_websocket
def echo(request):
    if not request.is_websocket():
        try:
            message = request.GET["message"]
            return HttpResponse(message)
        except KeyError:
            return render(request, "index.html")
    else:
        for message in request.websocket:
            request.websocket.send(message)


@require_websocket
def chat(request, room):
    if request.is_websocket:
        lock.acquire()
        try:
            clients.append(request.websocket)
            for message in request.websocket:
                if not message:
                    break
                for client in clients:
                    client.send(message)
        finally:
            clients.remove(request.websocket)
            lock.release()


@login_required
@websocket(max_message_size=100)
def modern(request, pk=None, **kwargs):
    while not request.websocket.is_closed():
        request.websocket.send_json({"pk": pk, **kwargs})


def decorated(view):
    @functools.wraps(view)
    def inner(request, *args, **kwargs):
        return view(request, *args, **kwargs)

    return inner


@websocket
@decorated
def inside(request):
    return None


@decorated
@websocket
def outside(request):
    return None


class Direct(View):
    @websocket
    def get(self, request, room):
        self.room = room
        request.websocket.send(room)


class Named(TemplateView):
    @method_decorator(accept_websocket)
    def dispatch(self, request, *args, **kwargs):
        return super().dispatch(request, *args, **kwargs)


@method_decorator(require_websocket, name="get")
class Page(TemplateView):
    @accept_websocket(dialect="modern")
    def get(self, request, *args, **kwargs):
        return super().get(request, *args, **kwargs)


class Mine(WebSocket):
    def hello(self):
        return self.send("hello")


class Factory(WebSocketFactory):
    websocket_class = Mine

    def create_websocket(self, connection=None, **options):
        made = super().create_websocket(connection, **options)
        return made


class Middleware(WebSocketMiddleware):
    def process_view(self, request, view, args, kwargs):
        return super().process_view(request, view, args, kwargs)


urlpatterns = [
    path("echo/", echo),
    path("chat/<room>/", chat),
    path("modern/", modern, {"pk": 1}),
    path("inside/", inside),
    path("outside/", outside),
    path("direct/<room>/", Direct.as_view()),
    path("named/", Named.as_view()),
    path("page/", Page.as_view()),
    path("lambda/", websocket(lambda request: None)),
    path("as-view/", accept_websocket(Named.as_view())),
]

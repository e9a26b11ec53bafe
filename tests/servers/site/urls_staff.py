"""A site whose staff has the page of the WebSockets."""

from __future__ import annotations

import os
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth import login as auth_login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

from dwebsocket import websocket


def ping(request: HttpRequest) -> HttpResponse:
    """Answer the tests' question whether the server is up."""
    return HttpResponse("pong")


def info(request: HttpRequest) -> JsonResponse:
    """Say which process this is."""
    return JsonResponse({"pid": os.getpid()})


def login(request: HttpRequest) -> HttpResponse:
    """Log a user in; the kinds "staff" and "root" may see the page."""
    kind = request.GET.get("kind", "")
    fields = {"is_staff": kind in ("staff", "root"), "is_superuser": kind == "root"}
    name = request.GET["name"]
    user, _ = get_user_model().objects.get_or_create(username=name, defaults=fields)
    auth_login(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse(str(user.pk))


@websocket
def room(request: Any, name: str) -> None:
    """Say which process this is, as a member of a group; then send back what comes."""
    request.websocket.join(name)
    request.websocket.send(str(os.getpid()))
    for message in request.websocket:
        request.websocket.send(message)


urlpatterns = [
    path("ping", ping),
    path("info", info),
    path("login", login),
    path("room/<path:name>", room),
    path("admin/websockets/", include("dwebsocket.contrib.monitor.urls")),
    path("admin/", admin.site.urls),
]

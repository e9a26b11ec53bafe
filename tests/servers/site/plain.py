"""Plain HTTP views, and views that nobody decorated."""

from __future__ import annotations

import os
import threading
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth import login as auth_login
from django.contrib.auth import logout as auth_logout
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from .report import Report, plain


def ping(request: HttpRequest) -> HttpResponse:
    """Answer."""
    return HttpResponse("pong")


def info(request: HttpRequest) -> JsonResponse:
    """Say who answers."""
    return JsonResponse(
        {
            "pid": os.getpid(),
            "thread": threading.current_thread().name,
            "threads": threading.active_count(),
        }
    )


def big(request: HttpRequest) -> HttpResponse:
    """Answer with ``?size=`` bytes."""
    return HttpResponse(b"b" * int(request.GET["size"]))


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    """Answer with a body in parts, and a status of an error."""
    return StreamingHttpResponse(iter([b"not ", b"", b"here"]), status=404)


@csrf_exempt
def upload(request: HttpRequest) -> JsonResponse:
    """Say how much the request's body has."""
    return JsonResponse({"size": len(request.body)})


def login(request: HttpRequest) -> HttpResponse:
    """Log a user in, who is made where there is none; count in the session."""
    name = request.GET.get("name", "ada")
    user, _ = get_user_model().objects.get_or_create(username=name)
    auth_login(request, user, "django.contrib.auth.backends.ModelBackend")
    request.session["count"] = 1
    return HttpResponse(name)


def logout(request: HttpRequest) -> HttpResponse:
    """Log the visitor out."""
    auth_logout(request)
    return HttpResponse()


def session(request: HttpRequest) -> JsonResponse:
    """Return what the session holds."""
    return JsonResponse({k: plain(v) for k, v in request.session.items()})


def undecorated(request: HttpRequest) -> HttpResponse:
    """Talk WebSocket where the middleware has opened one."""
    ws: Any = getattr(request, "websocket", None)
    if ws is None:
        return HttpResponse("plain")
    ws.send("opened by the middleware")
    return HttpResponse("ignored")


def marked(request: HttpRequest) -> HttpResponse:
    """Do the same; the attribute below asks the middleware for it."""
    return undecorated(request)


marked.accept_websocket = True  # type: ignore[attr-defined]


def attributes(request: HttpRequest) -> JsonResponse:
    """Return what a plain view sees of the request's two attributes."""
    Report(request)("attributes")
    return JsonResponse(
        {
            "has": hasattr(request, "websocket"),
            "websocket": repr(getattr(request, "websocket", "absent")),
        }
    )

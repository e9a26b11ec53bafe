"""Many decorators on a view, and what cannot be a view."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar, assert_type

from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import login_required, user_passes_test
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import include, path, re_path
from django.views.decorators.cache import cache_page, never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers
from django.views.generic import View

from dwebsocket import WebSocketRequest, accept_websocket, require_websocket, websocket

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)
V = TypeVar("V", bound=Callable[..., HttpResponseBase])


def timed(view: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(view)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        return view(*args, **kwargs)

    return inner


def with_tenant(
    view: Callable[Concatenate[HttpRequest, str, P], R],
) -> Callable[Concatenate[HttpRequest, P], R]:
    @functools.wraps(view)
    def inner(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return view(request, request.get_host(), *args, **kwargs)

    return inner


def same(view: V) -> V:
    return view


def checked(level: int) -> Callable[[V], V]:
    return same if level else lambda view: view


@csrf_exempt
@never_cache
@vary_on_headers("Cookie")
@require_http_methods(["GET"])
@staff_member_required
@login_required
@user_passes_test(lambda user: user.is_active)
@timed
@same
@checked(3)
@websocket(max_message_size=100, overflow="close")
def outside(request: WebSocketRequest, room: str) -> None: ...


@cache_page(60)
@accept_websocket(dialect="modern")
def cached(request: WebSocketRequest) -> JsonResponse | None: ...


@with_tenant
@websocket
def of_tenant(request: WebSocketRequest, tenant: str, pk: int) -> None: ...


@websocket
@transaction.atomic
@timed
@csrf_exempt
@never_cache
@login_required(login_url="/in/")
def inside(request: WebSocketRequest, room: str) -> HttpResponse:
    return HttpResponse(room)


@websocket
def positional(request: WebSocketRequest, /, room: str, *rest: str) -> None: ...


@websocket
def with_defaults(
    request: WebSocketRequest, room: str | None = None, **options: int
) -> HttpResponse | None: ...


class Holder:
    view = staticmethod(websocket(lambda request: None))

    @login_required
    @websocket
    def method(self, request: WebSocketRequest) -> None: ...


urlpatterns = [
    path("outside/<str:room>/", outside),
    path("cached/", cached),
    path("tenant/<int:pk>/", of_tenant),
    path("inside/<str:room>/", inside, name="inside"),
    path("positional/", positional),
    re_path(r"^defaults/(?P<room>\w+)?$", with_defaults, {"limit": 5}),
    path("holder/", Holder.view),
    path("method/", Holder().method),
    path("more/", include([path("defaults/", with_defaults)])),
    path("more/", include(([path("x/", outside)], "app"), namespace="more")),
]

request = RequestFactory().get("/")
assert_type(outside(request, "lobby"), HttpResponse)
response: HttpResponse = cached(request)
assert_type(of_tenant(request, pk=7), HttpResponse)
assert_type(inside(request, room="lobby").content, bytes)
with_defaults(request, limit=1)
positional(request, "lobby", "more")
print(Client().get("/outside/lobby/").status_code)
# error: mypy=arg-type pyright=reportArgumentType
of_tenant(request, pk="7")
# error: pyright=reportArgumentType
with_defaults(request, limit="1")


# error: mypy=arg-type pyright=reportCallIssue,reportArgumentType
@require_websocket
def yields(request: WebSocketRequest) -> Iterator[str]:
    yield "x"


# error: mypy=arg-type pyright=reportCallIssue,reportArgumentType
@websocket
def returns_text(request: WebSocketRequest) -> str:
    return "x"


# error: mypy=arg-type pyright=reportCallIssue,reportArgumentType
@websocket
def without_request() -> None: ...


# error: mypy=arg-type pyright=reportCallIssue,reportArgumentType
@websocket
class AClass(View):
    def get(self, request: WebSocketRequest) -> None: ...


# error: mypy=arg-type pyright=reportCallIssue,reportArgumentType
websocket(AClass)


def options() -> dict[str, Any]:
    return {"max_message_size": 1}


# Any is Any.
websocket(**options())

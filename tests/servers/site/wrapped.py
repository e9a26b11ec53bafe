"""Decorated views in every mixture that old code has."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from dwebsocket.decorators import accept_websocket, require_websocket


def talk(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
    """Say hello and wait for the end."""
    if not request.is_websocket():
        return HttpResponse("plain")
    request.websocket.send(f"hello {request.user}")
    while request.websocket.wait() is not None:
        pass
    return HttpResponse("never seen")


accept_twice = accept_websocket(accept_websocket(talk))
accept_require = accept_websocket(require_websocket(talk))
require_accept = require_websocket(accept_websocket(talk))
exempt_outside = csrf_exempt(accept_websocket(talk))
exempt_inside = accept_websocket(csrf_exempt(talk))
login_outside = login_required(accept_websocket(talk))
login_inside = accept_websocket(login_required(talk))


def closure(greeting: str) -> Any:
    """Return a decorated closure."""

    @accept_websocket
    def view(request: Any) -> HttpResponse | None:
        if not request.is_websocket():
            return HttpResponse("plain")
        request.websocket.send(greeting)
        while request.websocket.wait() is not None:
            pass
        return None

    return view


class Static:
    """Views that are static methods."""

    @staticmethod
    @accept_websocket
    def view(request: HttpRequest) -> HttpResponse:
        """Say hello."""
        return talk(request)


class GetView(View):
    """The decorator on get()."""

    @method_decorator(accept_websocket)
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Say hello."""
        return talk(request)


class BareGetView(View):
    """The decorator on get(), without method_decorator."""

    @accept_websocket
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Say hello."""
        return talk(request)


class DispatchView(View):
    """The decorator on dispatch()."""

    @method_decorator(accept_websocket)
    def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        """Pass on."""
        return super().dispatch(*args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        """Say hello."""
        return talk(request)


@method_decorator(accept_websocket, name="dispatch")
class NamedView(View):
    """The decorator on the class."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Say hello."""
        return talk(request)


VIEWS: dict[str, Any] = {
    "accept-twice": accept_twice,
    "accept-require": accept_require,
    "require-accept": require_accept,
    "exempt-outside": exempt_outside,
    "exempt-inside": exempt_inside,
    "login-outside": login_outside,
    "login-inside": login_inside,
    "closure": closure("hello AnonymousUser"),
    "as-view": accept_websocket(NamedView.as_view()),
    "static": Static.view,
    "static-instance": Static().view,
    "get": GetView.as_view(),
    "bare-get": BareGetView.as_view(),
    "dispatch": DispatchView.as_view(),
    "class": NamedView.as_view(),
}

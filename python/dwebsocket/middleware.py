"""The middleware of the old package. The decorators do not need it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBadRequest
from django.http.response import HttpResponseBase

from .checks import later_view_middleware
from .conf import settings
from .decorators import respond
from .exceptions import ConfigurationError
from .handshake.opening import Opening
from .handshake.refusal import refuse
from .handshake.request import asks, mark
from .runners import Call
from .websocket import unopened

__all__ = ("WebSocketMiddleware",)

_opening = Opening()


def _flag(view: Any, name: str) -> bool:
    """Return a view's attribute, also if a method of the view's class has it."""
    if getattr(view, name, False):
        return True
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    methods = (getattr(view_class, method, None) for method in ("dispatch", "get"))
    return any(getattr(method, name, False) for method in methods)


class WebSocketMiddleware:
    """Refuses, with 400, handshakes for views that do not serve WebSockets.

    The middleware sets ``request.websocket`` and ``request.is_websocket`` on every
    request. With the setting ``ACCEPT_ALL``, and for views with the attribute
    ``accept_websocket = True``, the middleware itself opens the WebSocket. List it last
    in ``MIDDLEWARE``.

    Args:
        get_response: The next middleware, or the view.
    """

    sync_capable = True
    async_capable = True

    get_response: Callable[[HttpRequest], Any]

    def __init__(
        self, get_response: Callable[[HttpRequest], Any] | None = None
    ) -> None:
        if get_response is None:
            # Old code combines this class with Django's MiddlewareMixin, which sets it.
            return
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Set the request's attributes and go on."""
        self.process_request(request)
        response: HttpResponseBase | Awaitable[HttpResponseBase]
        response = self.get_response(request)
        return response

    @staticmethod
    def process_request(request: HttpRequest) -> None:
        """Set the request's attributes; decorators made from middleware call this."""
        if not unopened.is_open(getattr(request, "websocket", None)):
            mark(request, asks(request) is not None)

    @staticmethod
    def process_response(
        request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Return the response; old code that extends this class calls the method."""
        return response

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        """Refuse a handshake, or open the WebSocket of an undecorated view."""
        factory = asks(request)
        if factory is None:
            if _flag(view, "require_websocket"):
                return HttpResponseBadRequest()
            return None
        if unopened.is_open(getattr(request, "websocket", None)):
            # Another middleware has opened the WebSocket.
            return None
        if _flag(view, "opens_websocket"):
            # The view's decorator opens the WebSocket when the view is called.
            return None
        if not (settings.ACCEPT_ALL or _flag(view, "accept_websocket")):
            return refuse(
                request,
                400,
                "The view of this URL does not serve WebSockets: decorate it with "
                "@websocket.",
            )
        for hook in self._later_hooks():
            response: HttpResponseBase | None = hook(request, view, args, kwargs)
            if response is not None:
                return response
        call = Call(view, request, (request, *args), kwargs)
        return respond(_opening, factory, call)

    def _later_hooks(self) -> list[Callable[..., Any]]:
        """Return the methods ``process_view`` of the middleware after this one.

        Django does not call these once this middleware has answered, and one of them
        may be the check of the visitor's login.

        Raises:
            ConfigurationError: A middleware after this one cannot be reached.
        """
        expected = later_view_middleware()
        found = []
        step: Any = self.get_response
        while expected and step is not None:
            instance = getattr(step, "__wrapped__", None)
            hook = getattr(instance, "process_view", None)
            if hook is not None and not iscoroutinefunction(hook):
                found.append(hook)
            step = getattr(instance, "get_response", None)
        if len(found) < len(expected):
            raise ConfigurationError(
                "WebSocketMiddleware opens this WebSocket itself, and cannot call "
                f"process_view of {', '.join(expected)} first. Put WebSocketMiddleware "
                "at the end of MIDDLEWARE, or decorate the view."
            )
        return found

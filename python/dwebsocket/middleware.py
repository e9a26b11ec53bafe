"""The middleware of the old package. The decorators do not need it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBadRequest
from django.http.response import HttpResponseBase

from . import inline
from .checks import later_view_middleware
from .conf import settings
from .exceptions import ConfigurationError
from .handoff import mark
from .opening import Opening, wants_websocket

__all__ = ("WebSocketMiddleware",)

_opening = Opening()


def _flag(view: Any, name: str) -> bool:
    """Return a view's attribute, also where a decorator sits on its class's methods."""
    if getattr(view, name, False):
        return True
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    methods = (getattr(view_class, method, None) for method in ("dispatch", "get"))
    return any(getattr(method, name, False) for method in methods)


class WebSocketMiddleware:
    """Refuses WebSockets to views that do not talk WebSocket, with 400.

    ``request.websocket`` and ``request.is_websocket`` exist on every request under it.
    With the setting ``ACCEPT_ALL``, and for views that carry ``accept_websocket =
    True``, it opens the WebSocket itself. List it last in ``MIDDLEWARE``.

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
            # Old code mixes this class with Django's MiddlewareMixin, which has set it.
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
        """Set the request's attributes: for decorators that are made of middleware."""
        if not inline.is_open(getattr(request, "websocket", None)):
            mark(request, wants_websocket(request))

    @staticmethod
    def process_response(
        request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Return the response: old code that extends this class calls it."""
        return response

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        """Refuse, or open the WebSocket of a view that is not decorated."""
        if not wants_websocket(request):
            if _flag(view, "require_websocket"):
                return HttpResponseBadRequest()
            return None
        if inline.is_open(getattr(request, "websocket", None)):
            # Another middleware has opened it.
            return None
        if _flag(view, "opens_websocket"):
            # Decorated: it does so itself, when it is called.
            return None
        if not (settings.ACCEPT_ALL or _flag(view, "accept_websocket")):
            return HttpResponseBadRequest("This URL does not talk WebSocket.\n")
        for hook in self._later_hooks():
            response: HttpResponseBase | None = hook(request, view, args, kwargs)
            if response is not None:
                return response
        return _opening.respond(request, view, (request, *args), kwargs)

    def _later_hooks(self) -> list[Callable[..., Any]]:
        """Return ``process_view`` of the middleware that comes after this one.

        Django leaves it out when one middleware answers, and it may be the one that
        asks who the visitor is.

        Raises:
            ConfigurationError: Some of it cannot be reached.
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
                "WebSocketMiddleware opens this WebSocket itself, and cannot ask "
                f"{', '.join(expected)} first. Put it at the end of MIDDLEWARE, or "
                "decorate the view."
            )
        return found

"""The decorators that let a view serve WebSockets."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse

from . import checks, conf, wsgi
from .exceptions import ConfigurationError, WebSocketClosed
from .handshake import plain
from .handshake.opening import Accept, Accepted, Opening, Subprotocols
from .handshake.request import asks
from .runners import Call
from .websocket import endpoint, unopened

if TYPE_CHECKING:
    from .decorating import ClassicDecorator, ModernDecorator

__all__ = ("accept_websocket", "require_websocket", "websocket")

# Registered here, because a project need not list the app in INSTALLED_APPS.
checks.install()
# accept_connection() uses this to open a WebSocket that a middleware has made.
unopened.open_by(wsgi.accept)


def _request_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
    """Return a view's request; it is the second argument if the view is a method."""
    for candidate in (*args[:2], kwargs.get("request")):
        inner = getattr(candidate, "_request", candidate)
        if isinstance(inner, HttpRequest):
            found: HttpRequest = candidate  # with REST framework's wrapper, if any
            return found
    raise TypeError("a WebSocket view must be called with a request")


async def _acall(view: Any, args: Any, kwargs: Any) -> Any:
    """Do what :func:`_call` does, for an asynchronous view."""
    try:
        returned = await view(*args, **kwargs)
    except WebSocketClosed:
        returned = None
    return HttpResponse() if returned is None else returned


def _call(view: Any, args: Any, kwargs: Any) -> Any:
    """Call a view whose WebSocket is open; return a response in any case."""
    try:
        returned = view(*args, **kwargs)
    except WebSocketClosed:
        # receive() raised this at the end of the connection, and it ended the view.
        returned = None
    return HttpResponse() if returned is None else returned


def _go_on(view: Any, websocket: Any, args: Any, kwargs: Any) -> Any:
    """Call a view whose WebSocket is open.

    Raises:
        ConfigurationError: The WebSocket is of the other kind than the view.
    """
    if not _is_async(view):
        return _call(view, args, kwargs)
    if hasattr(endpoint.of(websocket), "tasks"):
        return _acall(view, args, kwargs)
    raise ConfigurationError(
        "A middleware has opened this WebSocket in the request's own thread, and "
        f"{view!r} is an async view: write 'def', or let the decorator open it."
    )


def respond(opening: Opening, factory: Any, call: Call) -> HttpResponse:
    """Return the response that starts a view, or a refusal.

    Args:
        opening: Decides on the handshake.
        factory: The result of :func:`dwebsocket.handshake.request.asks`.
        call: The view's call.
    """
    decided = opening.decide(call.request, factory)
    if not isinstance(decided, Accepted):
        return decided
    return wsgi.hand_over(decided, call)


def _is_async(view: Any) -> bool:
    if isinstance(view, functools.partial):
        return _is_async(view.func)
    view = getattr(view, "__func__", view)
    # A decorated view looks synchronous: its response to a handshake is.
    return bool(
        iscoroutinefunction(view) or getattr(view, "serves_asynchronously", False)
    )


def _unmark(wrapper: Any) -> None:
    """Remove the marks of coroutine functions, which ``wraps()`` has copied."""
    for mark in ("_is_coroutine_marker", "_is_coroutine"):
        wrapper.__dict__.pop(mark, None)


def _kind_of_call(view: Any, by_hand: bool) -> Any:
    """Return the class of a view's calls."""
    if by_hand:
        # Imported late, as below.
        if not _is_async(view):
            from .runners.deciding import DecidingCall

            return DecidingCall
        from .runners.adeciding import AsyncDecidingCall

        return AsyncDecidingCall
    if not _is_async(view):
        return Call
    # Imported late: most sites have no such view.
    from .runners.acall import AsyncCall

    return AsyncCall


class _Awaitable:
    """What makes a response awaitable."""

    def __await__(self) -> Generator[None, None, _Awaitable]:
        yield from ()
        return self


@functools.cache
def _awaitable_class(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (_Awaitable, kind), {"__module__": kind.__module__})


def _as_it_is(response: Any) -> Any:
    return response


def _awaitable(response: Any) -> Any:
    """Let the caller of an asynchronous view await its response, or not.

    The decorated view is a function that returns a response. But ``method_decorator()``
    takes it for a coroutine function, as it was before, and Django then awaits.
    """
    if not isinstance(response, _Awaitable):
        response.__class__ = _awaitable_class(response.__class__)
    return response


def _in_loop() -> bool:
    """Return whether an event loop runs in this thread, which must not wait then."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check(view: Any, overrides: dict[str, Any]) -> None:
    """Make sure that a WebSocket's decorator fits on a view.

    Raises:
        ConfigurationError: It does not.
    """
    if hasattr(view, "_ws_opening"):
        raise ConfigurationError(
            f"{view!r} is a class with handlers, which needs no decorator: use its "
            "as_view() in urls.py."
        )
    if hasattr(view, "as_view"):
        raise ConfigurationError(
            f"{view!r} is a class, not a view: decorate its method get(), or the "
            "result of as_view()."
        )
    if not callable(view) and not hasattr(view, "__get__"):
        raise ConfigurationError(
            f"A WebSocket decorator is used on a view, not on {view!r}. (The address "
            "belongs in urls.py.)"
        )
    if overrides.get("cancel_on_disconnect") and not _is_async(view):
        raise ConfigurationError(
            f"{view!r} is a synchronous view, and a thread cannot be cancelled: "
            "cancel_on_disconnect=True is for async views ('async def')."
        )
    function = getattr(view, "__func__", view)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"{view!r} has a yield, so a call would not run it. A view sends with "
            "request.websocket.send()."
        )


def _is_by_hand(accept: Any) -> bool:
    """Return whether a decorator's argument ``accept`` is "manual".

    Raises:
        ConfigurationError: It is neither that nor "auto".
    """
    if accept not in ("auto", "manual"):
        raise ConfigurationError(f"accept must be 'auto' or 'manual', not {accept!r}.")
    return bool(accept == "manual")


def _decorate(
    view: Any,
    opening: Opening,
    require: bool,
    overrides: dict[str, Any],
    by_hand: bool,
) -> Any:
    _check(view, overrides)
    kind = _kind_of_call(view, by_hand)

    def answer(request: Any, args: Any, kwargs: Any) -> Any:
        """Answer plain HTTP."""
        answering = async_to_sync(view) if kind.asynchronous else view
        return plain.answer(request, answering, args, kwargs, require, view)

    finish = _awaitable if kind.asynchronous else _as_it_is

    def serve(request: Any, factory: Any, args: Any, kwargs: Any) -> Any:
        """Answer a request, in a thread that may wait."""
        if factory is None:
            return answer(request, args, kwargs)
        return respond(opening, factory, kind(view, request, args, kwargs))

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        request = _request_in(args, kwargs)
        given = getattr(request, "websocket", None)
        # Only a middleware or another decorator has set request.websocket before this.
        if given is not None and unopened.is_open(given):
            # The WebSocket is open: this decorator is the second one on the view, or a
            # middleware has opened the WebSocket.
            return _go_on(view, given, args, kwargs)
        factory = asks(request)
        if kind.asynchronous and _in_loop():
            # Django awaits a class whose method has this as a method_decorator().
            return sync_to_async(serve)(request, factory, args, kwargs)
        # The response has no name here: exceptions in asgiref keep this frame alive,
        # and a response that is thrown away must free its place.
        return finish(serve(request, factory, args, kwargs))

    _unmark(wrapper)
    wrapper.serves_asynchronously = kind.asynchronous  # type: ignore[attr-defined]
    wrapper.opens_websocket = True  # type: ignore[attr-defined]
    wrapper.accept_websocket = True  # type: ignore[attr-defined]
    wrapper.require_websocket = (  # type: ignore[attr-defined]
        require or getattr(view, "require_websocket", False)
    )
    return wrapper


def _decorator(
    view: Any,
    dialect: str,
    require: bool,
    subprotocols: Subprotocols,
    overrides: dict[str, Any],
    accept: Any = "auto",
) -> Any:
    by_hand = _is_by_hand(accept)
    if "manual" in overrides:
        raise ConfigurationError(
            "There is no argument 'manual'. Write accept=\"manual\"."
        )
    checked = conf.check_overrides(overrides, ("subprotocols", "accept"))
    opening = Opening(dialect, subprotocols, checked, by_hand)
    if view is None:
        return lambda view: _decorate(view, opening, require, overrides, by_hand)
    return _decorate(view, opening, require, overrides, by_hand)


def _classic(decorator: Any) -> ClassicDecorator:
    """Declare the type of a decorator; it depends on the decorator's own dialect."""
    declared: ClassicDecorator = decorator
    return declared


def _modern(decorator: Any) -> ModernDecorator:
    declared: ModernDecorator = decorator
    return declared


@_classic
def accept_websocket(
    view: Any = None,
    /,
    *,
    subprotocols: Subprotocols = None,
    accept: Accept = "auto",
    **overrides: Any,
) -> Any:
    """Let a view serve WebSockets, in the classic dialect, and plain HTTP.

    In the view, ``request.is_websocket()`` tells the two apart. The decorator works
    with and without arguments, on ``def`` and on ``async def``.

    Args:
        view: The view.
        subprotocols: The subprotocols that the view speaks, the best one first; or a
            function that gets the request and the client's list, and returns an item
            of the list or None.
        accept: "manual": the view looks at the request first; then it returns a
            response, or calls ``request.websocket.accept()``. "auto": the WebSocket is
            open when the view begins.
        overrides: Settings of ``DWEBSOCKET`` for this view, in lowercase:
            ``dialect="modern"``, ``max_message_size=65536``, ...

    Raises:
        ConfigurationError: An argument is wrong, or does not fit the view.
    """
    return _decorator(view, "classic", False, subprotocols, overrides, accept)


@_classic
def require_websocket(
    view: Any = None,
    /,
    *,
    subprotocols: Subprotocols = None,
    accept: Accept = "auto",
    **overrides: Any,
) -> Any:
    """Let a view serve WebSockets, in the classic dialect; answer plain HTTP with 400.

    Takes the arguments of :func:`accept_websocket`.
    """
    return _decorator(view, "classic", True, subprotocols, overrides, accept)


@_modern
def websocket(
    view: Any = None,
    /,
    *,
    subprotocols: Subprotocols = None,
    accept: Accept = "auto",
    **overrides: Any,
) -> Any:
    """Let a view serve WebSockets, in the modern dialect, and plain HTTP.

    Takes the arguments of :func:`accept_websocket`.
    """
    return _decorator(view, "modern", False, subprotocols, overrides, accept)


class _Callable(types.ModuleType):
    """The package ``dwebsocket.websocket``, which can be called as the decorator."""

    def __call__(
        self,
        view: Any = None,
        /,
        *,
        subprotocols: Any = None,
        accept: Any = "auto",
        **overrides: Any,
    ) -> Any:
        """Let a view serve WebSockets; see :func:`dwebsocket.decorators.websocket`."""
        decorate: Any = websocket
        return decorate(view, subprotocols=subprotocols, accept=accept, **overrides)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return importlib.import_module, (self.__name__,)


sys.modules[f"{__package__}.websocket"].__class__ = _Callable

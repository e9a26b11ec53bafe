"""The types of the decorators, one for each dialect; only type checkers import this.

A decorated view takes any request, because the decorator looks for the WebSocket
itself, and returns a response. Its other parameters are those of the view.

The overloads of a decorator, in this order:

1. a function whose request fits,
2. the same if mypy cannot keep its parameters (typed ``**kwargs``, a lambda),
3. a function whose request has the type of the other dialect,
4. a function whose request is of a class of the project's own,
5. a method that fits Django's views as it is; it may override one of theirs,
6. any other method,
7. both of the last kinds if mypy cannot keep their parameters,
8. the decorator with arguments.

mypy warns of views that fit two of them. The order decides then, and views without
annotations get Any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from .conf.view_options import ViewOptions
from .handshake.opening import Subprotocols
from .request import ClassicWebSocketRequest, WebSocketRequest
from .websocket import WebSocket

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault
    from typing_extensions import Unpack

    Returned = TypeVarWithDefault(
        "Returned", bound=HttpResponseBase, default=HttpResponse
    )
    #: A function or a method; mypy does not look at the parameters after the request.
    AnyView: TypeAlias = (
        Callable[Concatenate["Request", ...], Returned | None]
        | Callable[Concatenate[Any, "Request", ...], Returned | None]
    )
else:
    Returned = TypeVar("Returned", bound=HttpResponseBase)

__all__ = ("ClassicDecorator", "DecoratorModule", "ModernDecorator", "WrongDialect")

P = ParamSpec("P")
Method = TypeVar(
    "Method", bound="Callable[Concatenate[Any, HttpRequest, ...], HttpResponseBase]"
)
Self = TypeVar("Self")
Request = TypeVar("Request", bound=HttpRequest)


class WrongDialect:
    """What becomes of a view whose request has the type of the other dialect.

    ``@websocket`` goes with ``WebSocketRequest``, ``@accept_websocket`` and
    ``@require_websocket`` go with ``ClassicWebSocketRequest``.
    """


class ModernDecorator(Protocol):
    """The type of ``@websocket``, and of the others with ``dialect="modern"``."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, view: Callable[Concatenate[WebSocketRequest, P], Returned | None], /
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self, view: Callable[Concatenate[WebSocketRequest, ...], Returned | None], /
    ) -> Callable[..., Returned | HttpResponse]: ...
    @overload
    def __call__(
        self,
        view: Callable[Concatenate[ClassicWebSocketRequest, ...], Returned | None],
        /,
    ) -> WrongDialect: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, view: Callable[Concatenate[Request, P], Returned | None], /
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(self, view: Method, /) -> Method: ...
    @overload
    def __call__(
        self, view: Callable[Concatenate[Self, Request, P], Returned | None], /
    ) -> Callable[Concatenate[Self, HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(
        self, view: AnyView[Request, Returned], /
    ) -> Callable[..., Returned | HttpResponse]: ...
    @overload
    def __call__(
        self,
        *,
        dialect: Literal["modern"] | None = None,
        subprotocols: Subprotocols = None,
        **options: Unpack[ViewOptions],
    ) -> ModernDecorator: ...
    @overload
    def __call__(
        self,
        *,
        dialect: Literal["classic"],
        subprotocols: Subprotocols = None,
        **options: Unpack[ViewOptions],
    ) -> ClassicDecorator: ...


class ClassicDecorator(Protocol):
    """The type of ``@accept_websocket`` and ``@require_websocket``."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        view: Callable[Concatenate[ClassicWebSocketRequest, P], Returned | None],
        /,
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self,
        view: Callable[Concatenate[ClassicWebSocketRequest, ...], Returned | None],
        /,
    ) -> Callable[..., Returned | HttpResponse]: ...
    @overload
    def __call__(
        self,
        view: Callable[Concatenate[WebSocketRequest, ...], Returned | None],
        /,
    ) -> WrongDialect: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, view: Callable[Concatenate[Request, P], Returned | None], /
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(self, view: Method, /) -> Method: ...
    @overload
    def __call__(
        self, view: Callable[Concatenate[Self, Request, P], Returned | None], /
    ) -> Callable[Concatenate[Self, HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(
        self, view: AnyView[Request, Returned], /
    ) -> Callable[..., Returned | HttpResponse]: ...
    @overload
    def __call__(
        self,
        *,
        dialect: Literal["classic"] | None = None,
        subprotocols: Subprotocols = None,
        **options: Unpack[ViewOptions],
    ) -> ClassicDecorator: ...
    @overload
    def __call__(
        self,
        *,
        dialect: Literal["modern"],
        subprotocols: Subprotocols = None,
        **options: Unpack[ViewOptions],
    ) -> ModernDecorator: ...


class DecoratorModule(ModernDecorator, Protocol):
    """The type of ``dwebsocket.websocket``, which is decorator and module."""

    WebSocket: type[WebSocket[Any]]

"""The types of the decorators, one for each dialect; only type checkers import this.

A decorated view takes any request, because the decorator looks for the WebSocket
itself, and returns a response. Its other parameters are those of the view.

The overloads of a decorator, in this order:

1. an asynchronous function whose request fits,
2. the same if mypy cannot keep its parameters (typed ``**kwargs``),
3. one whose request has the type of the other dialect, or of a synchronous view,
4. one whose request is of a class of the project's own; a method; both of these kinds
   if mypy cannot keep their parameters,
5. a function whose request fits,
6. the same if mypy cannot keep its parameters (typed ``**kwargs``, a lambda),
7. a function whose request has the type of the other dialect, or of an asynchronous
   view,
8. a function whose request is of a class of the project's own,
9. a method that fits Django's views as it is; it may override one of theirs,
10. any other method,
11. both of the last kinds if mypy cannot keep their parameters,
12. the decorator with arguments.

mypy warns of views that fit two of them. The order decides then, and views without
annotations get Any.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
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
from .handshake.opening import Accept, Subprotocols
from .request import (
    AsyncWebSocketRequest,
    ClassicAsyncWebSocketRequest,
    ClassicWebSocketRequest,
    WebSocketRequest,
)
from .websocket import WebSocket
from .websocket.aio import AsyncWebSocket

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
    #: The requests of each kind of view, in either dialect.
    Threads: TypeAlias = WebSocketRequest[WebSocket[Any]]
    Tasks: TypeAlias = WebSocketRequest[AsyncWebSocket[Any]]
    #: What the call of an asynchronous view returns.
    Later: TypeAlias = Coroutine[Any, Any, Returned | None]
    AnyAsyncView: TypeAlias = (
        Callable[Concatenate["Request", ...], Later[Returned]]
        | Callable[Concatenate[Any, "Request", ...], Later[Returned]]
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
    ``@require_websocket`` go with ``ClassicWebSocketRequest``. For ``async def``, these
    are ``AsyncWebSocketRequest`` and ``ClassicAsyncWebSocketRequest``.
    """


class ModernDecorator(Protocol):
    """The type of ``@websocket``, and of the others with ``dialect="modern"``."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, view: Callable[Concatenate[AsyncWebSocketRequest, P], Later[Returned]], /
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self,
        view: Callable[Concatenate[AsyncWebSocketRequest, ...], Later[Returned]],
        /,
    ) -> Callable[..., Returned | HttpResponse]: ...
    @overload
    def __call__(
        self,
        view: Callable[Concatenate[ClassicAsyncWebSocketRequest, ...], Later[Returned]],
        /,
    ) -> WrongDialect: ...
    @overload
    def __call__(
        self, view: Callable[Concatenate[Threads, ...], Later[Returned]], /
    ) -> WrongDialect: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, view: Callable[Concatenate[Request, P], Later[Returned]], /
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(
        self, view: Callable[Concatenate[Self, Request, P], Later[Returned]], /
    ) -> Callable[Concatenate[Self, HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(
        self, view: AnyAsyncView[Request, Returned], /
    ) -> Callable[..., Returned | HttpResponse]: ...
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
    def __call__(
        self, view: Callable[Concatenate[Tasks, ...], Returned | None], /
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
        accept: Accept = "auto",
        **options: Unpack[ViewOptions],
    ) -> ModernDecorator: ...
    @overload
    def __call__(
        self,
        *,
        dialect: Literal["classic"],
        subprotocols: Subprotocols = None,
        accept: Accept = "auto",
        **options: Unpack[ViewOptions],
    ) -> ClassicDecorator: ...


class ClassicDecorator(Protocol):
    """The type of ``@accept_websocket`` and ``@require_websocket``."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        view: Callable[Concatenate[ClassicAsyncWebSocketRequest, P], Later[Returned]],
        /,
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self,
        view: Callable[Concatenate[ClassicAsyncWebSocketRequest, ...], Later[Returned]],
        /,
    ) -> Callable[..., Returned | HttpResponse]: ...
    @overload
    def __call__(
        self,
        view: Callable[Concatenate[AsyncWebSocketRequest, ...], Later[Returned]],
        /,
    ) -> WrongDialect: ...
    @overload
    def __call__(
        self, view: Callable[Concatenate[Threads, ...], Later[Returned]], /
    ) -> WrongDialect: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, view: Callable[Concatenate[Request, P], Later[Returned]], /
    ) -> Callable[Concatenate[HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(
        self, view: Callable[Concatenate[Self, Request, P], Later[Returned]], /
    ) -> Callable[Concatenate[Self, HttpRequest, P], Returned | HttpResponse]: ...
    @overload
    def __call__(
        self, view: AnyAsyncView[Request, Returned], /
    ) -> Callable[..., Returned | HttpResponse]: ...
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
    def __call__(
        self, view: Callable[Concatenate[Tasks, ...], Returned | None], /
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
        accept: Accept = "auto",
        **options: Unpack[ViewOptions],
    ) -> ClassicDecorator: ...
    @overload
    def __call__(
        self,
        *,
        dialect: Literal["modern"],
        subprotocols: Subprotocols = None,
        accept: Accept = "auto",
        **options: Unpack[ViewOptions],
    ) -> ModernDecorator: ...


class DecoratorModule(ModernDecorator, Protocol):
    """The type of ``dwebsocket.websocket``, which is decorator and module."""

    WebSocket: type[WebSocket[Any]]

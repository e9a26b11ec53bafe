"""The types of the requests that views get; for annotations only.

    from dwebsocket import AsyncWebSocketRequest, WebSocketRequest, websocket

    @websocket
    def echo(request: WebSocketRequest) -> None:
        for message in request.websocket:
            request.websocket.send(message)

    @websocket
    async def later(request: AsyncWebSocketRequest) -> None:
        async for message in request.websocket:
            await request.websocket.send(message)

Every request is an instance of Django's own classes, and never of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from django.http import HttpRequest

from .handshake.request import IsWebSocket
from .websocket import WebSocket
from .websocket.aio import AsyncWebSocket

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Socket = TypeVarWithDefault(
        "Socket",
        bound=WebSocket[Any] | AsyncWebSocket[Any] | None,
        default=WebSocket[str | bytes],
        covariant=True,
    )
else:
    Socket = TypeVar("Socket", bound=WebSocket | AsyncWebSocket, covariant=True)

__all__ = (
    "AsyncWebSocketRequest",
    "ClassicAsyncWebSocketRequest",
    "ClassicWebSocketRequest",
    "IsWebSocket",
    "WebSocketRequest",
)


class WebSocketRequest(HttpRequest, Generic[Socket]):
    """The request of a view that is decorated with ``@websocket``.

    The type in brackets is that of ``request.websocket``: a class of the project
    (``WebSocketRequest[MyWebSocket]``), or a type with None for a view that also
    answers plain HTTP (``WebSocketRequest[WebSocket | None]``).
    """

    websocket: Socket
    is_websocket: IsWebSocket


#: The request of a view that is decorated with ``@accept_websocket`` or
#: ``@require_websocket``, which speak the classic dialect.
ClassicWebSocketRequest: TypeAlias = WebSocketRequest[WebSocket[bytes]]

#: The request of an asynchronous view that is decorated with ``@websocket``.
AsyncWebSocketRequest: TypeAlias = WebSocketRequest[AsyncWebSocket[str | bytes]]

#: The request of an asynchronous view that is decorated with ``@accept_websocket`` or
#: ``@require_websocket``.
ClassicAsyncWebSocketRequest: TypeAlias = WebSocketRequest[AsyncWebSocket[bytes]]

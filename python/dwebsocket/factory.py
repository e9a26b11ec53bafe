"""The factory that makes ``request.websocket``; see the setting ``FACTORY_CLASS``.

To give views your own WebSocket class, subclass :class:`WebSocketFactory` and set
``websocket_class``, and ``async_websocket_class`` for asynchronous views.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from . import _engine, servers
from .conf import settings
from .exceptions import ConfigurationError
from .websocket import WebSocket, endpoint, unopened

if TYPE_CHECKING:
    from .websocket.aio import AsyncWebSocket

__all__ = ("WebSocketFactory", "made_by")


class WebSocketFactory:
    """Makes the WebSocket of a request.

    Args:
        request: The handshake.
    """

    websocket_class: type[WebSocket[Any]] = WebSocket
    #: The class for asynchronous views; None: ``AsyncWebSocket``.
    async_websocket_class: type[AsyncWebSocket[Any]] | None = None
    #: Whether the view is asynchronous; set for each handshake.
    asynchronous: bool = False
    #: The connection and its options, for a create_websocket() that takes no arguments.
    _opened: tuple[_engine.Connection, dict[str, Any]] | None = None
    #: The WebSocket of a connection, which a create_websocket() may return in another
    #: object.
    _made: WebSocket[Any] | AsyncWebSocket[Any] | None = None

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def is_websocket(self) -> bool:
        """Return whether the request asks for a WebSocket (RFC 6455 section 4.2.1)."""
        upgrade: str = self.request.META.get("HTTP_UPGRADE", "")
        return "websocket" in [part.strip() for part in upgrade.lower().split(",")]

    def get_websocket_version(self) -> str:
        """Return the protocol version that the client names; "" if it names none."""
        version: str = self.request.META.get("HTTP_SEC_WEBSOCKET_VERSION", "")
        return version

    def get_wsgi_sock(self) -> servers.ServerSocket:
        """Return the request's socket, as the WSGI server knows it.

        Raises:
            SocketUnavailable: The socket cannot be taken from the server.
        """
        return servers.find(self.request.META)

    def create_websocket(
        self, connection: _engine.Connection | None = None, **options: Any
    ) -> WebSocket[Any] | AsyncWebSocket[Any] | None:
        """Return the WebSocket for a connection.

        Without a connection, return a WebSocket that ``accept_connection()`` will open,
        for the view that runs in this thread; None if the request does not ask for a
        WebSocket.

        Args:
            connection: The engine's connection.
            options: The other arguments of the WebSocket.
        """
        if connection is None and self._opened is not None:
            connection, options = self._opened
        if connection is None:
            made: WebSocket[Any] | None = unopened.create(self)
            return made
        self._made = self._class()(connection, **options)
        return self._made

    def _class(self) -> type[Any]:
        if not self.asynchronous:
            return self.websocket_class
        if self.async_websocket_class is not None:
            return self.async_websocket_class
        # Imported late: most sites have no asynchronous view.
        from .websocket.aio import AsyncWebSocket

        return AsyncWebSocket


def made_by(factory: Any, connection: _engine.Connection, options: Any) -> Any:
    """Return the WebSocket that a factory makes for a connection.

    In old projects, ``create_websocket()`` takes no arguments and calls the method of
    the base class, which then finds the arguments in ``_opened``.

    Raises:
        ConfigurationError: It makes none, or one of the wrong kind for the view.
    """
    create = factory.create_websocket
    ours = getattr(create, "__func__", None) is WebSocketFactory.create_websocket
    if ours or inspect.signature(create).parameters:
        made = create(connection, **options)
    else:
        factory._opened = connection, options  # noqa: SLF001 - of the class above
        made = create()
    inner = vars(factory).pop("_made", None)
    if made is not inner and made is not None and inner is not None:
        endpoint.lend(made, inner)
    if made is None:
        raise ConfigurationError(
            f"create_websocket() of {settings.FACTORY_CLASS} must return the "
            "WebSocket of the connection, not None."
        )
    if factory.asynchronous and not hasattr(endpoint.of(made), "tasks"):
        raise ConfigurationError(
            f"create_websocket() of {settings.FACTORY_CLASS} must return an "
            "AsyncWebSocket if 'self.asynchronous' is True: the view is asynchronous."
        )
    return made

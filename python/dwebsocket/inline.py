"""WebSockets that a site's own middleware opens; the view runs in the server's thread.

    websocket = WebSocketFactory(request).create_websocket()
    websocket.accept_connection()

As in the old package, the view that is called next uses this WebSocket, and holds the
server's thread as long as it does. The server's response goes nowhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse

from .exceptions import HandshakeError, SocketUnavailable, WebSocketClosed

if TYPE_CHECKING:
    from .factory import WebSocketFactory
    from .websocket import WebSocket

__all__ = ("Unopened", "call", "create", "is_open")

#: The request's attribute with the conversation that it carries.
_ATTRIBUTE = "_dwebsocket_conversation"


class RefusedHandshake(HandshakeError, BadRequest):
    """A handshake that cannot be accepted; Django answers 400 by itself."""


class Unopened:
    """Stands in for the engine's connection until ``accept_connection()``.

    Args:
        request: The handshake.
    """

    id = 0
    ended = False
    close_code: int | None = None
    close_reason = ""
    pending = 0
    latency: float | None = None
    groups: tuple[str, ...] = ()

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def close(self, code: int, reason: str) -> bool:
        """Do nothing: what is not open need not be closed."""
        return False

    def receive(self, timeout: float | None = None) -> Any:
        """Raise RuntimeError."""
        self._complain()

    def send(self, *args: Any) -> Any:
        """Raise RuntimeError."""
        self._complain()

    def __getattr__(self, name: str) -> Any:
        self._complain()

    @staticmethod
    def _complain() -> Any:
        raise RuntimeError("This WebSocket is not open: call accept_connection() first")

    def accept(self, websocket: WebSocket) -> None:
        """Open the connection of a WebSocket.

        Raises:
            HandshakeError: The handshake is not acceptable.
            PermissionDenied: The Origin is not allowed.
            SocketUnavailable: The server's socket cannot be had, or there are too many
                connections.
        """
        if websocket._closed:
            raise RuntimeError("This WebSocket was closed before it was accepted")
        # Imported late: these know of WebSockets.
        from . import handoff, users
        from .opening import Opening

        request = self.request
        response = Opening().respond(request, _no_view, (request,), {})
        # The middleware goes on with its own, also to close it after a refusal.
        handoff.mark(request, True, websocket)
        if not isinstance(response, handoff.HandoffResponse):
            raise _refusal(response)
        ours = response._handoff
        conversation = _conversation(request, websocket)
        ours.call = conversation
        session = getattr(request, "session", None)
        modified = session is not None and session.modified
        ours.run([])
        websocket._become(request.websocket)  # type: ignore[attr-defined]
        websocket._owner = threading.get_ident()
        handoff.mark(request, True, websocket)
        if session is not None:
            # The middleware saves it when this request ends, as ever.
            session.modified = modified
        _at_the_end(request, conversation)
        users.identify(request, websocket)


def _no_view(request: HttpRequest) -> None:
    """Stand in for the view, which the server's thread calls."""


def _refusal(response: HttpResponse) -> Exception:
    """Return the exception for which Django gives an answer like this one."""
    text = response.content.decode().strip()
    if response.status_code == 403:
        return PermissionDenied(text)
    if response.status_code < 500:
        return RefusedHandshake(text, response.status_code)
    return SocketUnavailable(text)


def _conversation(request: HttpRequest, websocket: WebSocket) -> Any:
    from . import databases, engine_log, runners, signals

    class Conversation(runners.Call):
        """Closes the WebSocket when the server has done with the request."""

        __slots__ = ("code", "finished", "websocket")

        def __init__(self) -> None:
            super().__init__(_no_view, request, (request,), {})
            self.websocket = websocket
            self.finished = threading.Event()
            self.code = runners.NORMAL

        def run(self, opened: WebSocket) -> None:
            websocket = self.websocket
            websocket._become(opened)
            databases.begin()
            try:
                signals.emit(signals.websocket_opened, websocket, request=request)
                self.finished.wait()
            finally:
                websocket._owner = 0
                websocket.close(self.code)
                self._tell_end(websocket)
                databases.end()
                engine_log.drain()

    return Conversation()


def _at_the_end(request: HttpRequest, conversation: Any) -> None:
    """Have the conversation end with the request: every server closes its response."""
    close = request.close

    def finish() -> None:
        try:
            close()
        finally:
            conversation.finished.set()

    request.close = finish  # type: ignore[method-assign]
    setattr(request, _ATTRIBUTE, conversation)


def _note_error(request: Any = None, **kwargs: Any) -> None:
    conversation = getattr(request, "__dict__", {}).get(_ATTRIBUTE)
    if conversation is not None:
        conversation.code = 1011


got_request_exception.connect(_note_error, dispatch_uid="dwebsocket.inline")


def create(factory: WebSocketFactory) -> WebSocket | None:
    """Return a WebSocket that is not open yet; None for a plain request.

    In a view whose WebSocket is open, return that one.
    """
    from . import conf

    if not factory.is_websocket():
        return None
    found: WebSocket | None = getattr(factory.request, "websocket", None)
    if is_open(found):
        return found
    profile = conf.profile("classic")
    stand_in: Any = Unopened(factory.request)
    return factory.websocket_class(
        stand_in,
        modern=profile.modern,
        overflow=profile.overflow,
        send_timeout=profile.send_timeout,
    )


def call(view: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a decorated view whose WebSocket is open; return what Django can take."""
    try:
        returned = view(*args, **kwargs)
    except WebSocketClosed:
        # receive() told the view that the peer has gone, and that was its end.
        returned = None
    return HttpResponse() if returned is None else returned


def is_open(websocket: Any) -> bool:
    """Return whether there is a WebSocket, and it has a connection."""
    return websocket is not None and not isinstance(
        getattr(websocket, "_connection", None), Unopened
    )

"""WebSockets that a site's middleware opens; the view runs in the server's thread.

    websocket = WebSocketFactory(request).create_websocket()
    websocket.accept_connection()

As in the old package, the view that is called next uses this WebSocket, and occupies
the server's thread until it returns. Its response does not reach the client.
"""

from __future__ import annotations

import threading
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse

from dwebsocket import signals
from dwebsocket.exceptions import HandshakeError, SocketUnavailable
from dwebsocket.handshake.opening import Accepted, Opening
from dwebsocket.handshake.request import factory_of, mark
from dwebsocket.logins import rights
from dwebsocket.process import databases, log
from dwebsocket.runners import NORMAL, Call
from dwebsocket.websocket import WebSocket, unopened
from dwebsocket.websocket.endpoint import of

from .handoff import HandoffResponse, hand_over

__all__ = ("accept",)

#: The name of the request's attribute that holds its conversation.
_ATTRIBUTE = "_dwebsocket_conversation"


class RefusedHandshake(HandshakeError, BadRequest):
    """A handshake that cannot be accepted; Django answers 400 by itself."""


def _no_view(request: HttpRequest) -> None:
    """Do nothing, in place of the view, which the server's thread calls."""


def _refusal(response: HttpResponse) -> Exception:
    """Return the exception for which Django gives a response like this one."""
    text = response.content.decode().strip()
    if response.status_code == 403:
        return PermissionDenied(text)
    if response.status_code < 500:
        return RefusedHandshake(text, response.status_code)
    return SocketUnavailable(text)


class Conversation(Call):
    """Replaces the view's call: closes the WebSocket when the request has ended.

    Args:
        request: The handshake.
        websocket: The WebSocket, which is not open yet.
    """

    place = "request"

    __slots__ = ("code", "finished", "websocket")

    def __init__(self, request: HttpRequest, websocket: WebSocket[Any]) -> None:
        super().__init__(_no_view, request, (request,), {})
        self.websocket = websocket
        self.finished = threading.Event()
        self.code = NORMAL

    def run(self, opened: WebSocket[Any]) -> None:
        """Wait for the end of the request, in the thread reserved for the view."""
        websocket = self.websocket
        unopened.become(websocket, opened)
        databases.begin()
        try:
            signals.emit(signals.websocket_opened, websocket, request=self.request)
            self.finished.wait()
        finally:
            of(websocket).leave()
            websocket.close(self.code)
            self.tell_end(websocket)
            log.drain()


def accept(request: HttpRequest, websocket: WebSocket[Any]) -> None:
    """Open the connection of a WebSocket that is not open yet.

    Raises:
        HandshakeError: The handshake is not acceptable.
        PermissionDenied: The Origin is not allowed.
        SocketUnavailable: The server's socket cannot be taken over, or there are too
            many connections.
    """
    conversation = Conversation(request, websocket)
    response = Opening().decide(request, factory_of(request))
    if isinstance(response, Accepted):
        response = hand_over(response, conversation)
    # The middleware goes on using its own WebSocket, and closes it after a refusal.
    mark(request, True, websocket)
    if not isinstance(response, HandoffResponse):
        raise _refusal(response)
    session = getattr(request, "session", None)
    modified = session is not None and session.modified
    response.start()
    unopened.become(websocket, request.websocket)  # type: ignore[attr-defined]
    of(websocket).begin()
    mark(request, True, websocket)
    if session is not None:
        # Django's middleware saves the session when this request ends, as usual.
        session.modified = modified
    _at_the_end(request, conversation)
    rights.identify(request, of(websocket).connection)


def _at_the_end(request: HttpRequest, conversation: Conversation) -> None:
    """End the conversation when the server closes the response, as all servers do."""
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

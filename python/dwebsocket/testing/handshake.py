"""Opens a WebSocket through the handler of Django's test client."""

from __future__ import annotations

import base64
import copy
import functools
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from django.http.request import HttpHeaders
from django.test import AsyncClient, Client

from dwebsocket import runners
from dwebsocket.servers import testing as line

from . import cleaning, lending
from .conversation import Conversation
from .errors import WebSocketRefused
from .frames import Deflate
from .stage import current
from .views import Runner, View
from .websocket import ClientWebSocket
from .wire import Wire

__all__ = ("allow_outliving", "connect")

#: Whether views may outlive the present test: the plugin's marker.
_may_outlive = False


def _runner(view: View, asynchronous: bool) -> runners.Runner:
    if not asynchronous:
        return Runner(view)
    # Imported late: most sites have no such view.
    from .tasks import TaskRunner

    return TaskRunner(view)


def allow_outliving(allowed: bool) -> None:
    """Set the default of :func:`connect`'s argument ``may_outlive``."""
    global _may_outlive
    _may_outlive = allowed


def connect(
    client: Any,
    path: str,
    *,
    subprotocols: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    origin: str | None = None,
    secure: bool = False,
    compression: bool = False,
    raw: bool = False,
    timeout: float = 10.0,
    may_outlive: bool | None = None,
    **environ: Any,
) -> ClientWebSocket:
    """Open a WebSocket to a view, through all middleware, without a server.

    Args:
        client: Django's test client, or one of a subclass; its cookies and its login
            are used.
        path: The path, with the query.
        subprotocols: The subprotocols to offer.
        headers: More headers of the handshake.
        origin: The header ``Origin``; None: no such header.
        secure: Connect as by ``wss:``.
        compression: Offer permessage-deflate.
        raw: Keep received frames for ``receive_frame()``, and answer none of them.
        timeout: Seconds that a view may take to rest after a message, or to end after
            its client has left.
        may_outlive: Whether the view may run on then; None: as the test's marker says.
        environ: More keys of the WSGI environ, as for the client's own ``get()``.

    Returns:
        The WebSocket, whose view has come to its first ``wait()``.

    Raises:
        WebSocketRefused: The answer is a plain HTTP response.
    """
    stage = current()
    view = View(stage, path)
    cleaning.reset_after_test()
    ours, theirs = socket.socketpair()
    wire = Wire(ours, raw)
    view.borrowed = lending.lend()
    extra = {
        line.KEY: line.Line(theirs, functools.partial(_runner, view)),
        "wsgi.multiprocess": False,
        **_handshake(subprotocols, origin, compression),
        **_environ(headers),
        **environ,
    }
    try:
        response = _answering(client).get(path, secure=secure, **extra)
        if response.streaming or not view.has_begun:
            # Reading the content closes a streaming response, as a server does.
            body = b"".join(response)
        if not view.has_begun:
            raise WebSocketRefused(response, body)
        outlive = _may_outlive if may_outlive is None else may_outlive
        found = _meet(Conversation(wire, view, response, timeout, outlive))
        return ClientWebSocket(found)
    except BaseException:
        _give_up(wire, view)
        raise
    finally:
        theirs.close()


def _handshake(
    subprotocols: Iterable[str], origin: str | None, compression: bool
) -> dict[str, Any]:
    """Return the headers of a handshake, as keys of the environ."""
    found = {
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": base64.b64encode(os.urandom(16)).decode(),
    }
    offered = ", ".join(
        [subprotocols] if isinstance(subprotocols, str) else subprotocols
    )
    if offered:
        found["HTTP_SEC_WEBSOCKET_PROTOCOL"] = offered
    if compression:
        found["HTTP_SEC_WEBSOCKET_EXTENSIONS"] = Deflate.OFFER
    if origin is not None:
        found["HTTP_ORIGIN"] = origin
    return found


def _environ(headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a test's own headers, as keys of the environ."""
    return HttpHeaders.to_wsgi_names(headers) if headers else {}


def _answering(client: Any) -> Any:
    """Return a copy of a client that iterates the response, as a WSGI server does.

    The copy shares the client's cookies. Its handler is a copy, too, so that the
    client itself stays as it is.
    """
    if isinstance(client, AsyncClient):
        client = _synchronous(client)
    found = copy.copy(client)
    handler: Any = copy.copy(found.handler)
    found.handler = handler
    answer = handler.get_response

    def get_response(request: Any) -> Any:
        response = answer(request)
        if response.status_code == 101:
            for _ in response:
                pass
        return response

    handler.get_response = get_response
    return found


def _synchronous(client: Any) -> Any:
    """Return a synchronous client with the cookies of an asynchronous one."""
    found: Any = Client(
        enforce_csrf_checks=client.handler.enforce_csrf_checks,
        raise_request_exception=client.raise_request_exception,
    )
    found.cookies = client.cookies
    found.defaults = dict(client.defaults)
    return found


def _meet(found: Conversation) -> Conversation:
    """Let the view begin, and wait for the 101."""
    try:
        found.begin()
    except BaseException:
        found.view.abandon()
        found.let_go()
        raise
    return found


def _give_up(wire: Wire, view: View) -> None:
    """Free what belongs to a handshake without a WebSocket."""
    wire.shut()
    if view.has_begun:
        view.abandon()
    lending.give_back(view.borrowed)
    view.borrowed = ()

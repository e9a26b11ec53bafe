"""The application that an ASGI server calls."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings as django_settings
from django.core import signals
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from dwebsocket.exceptions import ConfigurationError
from dwebsocket.process import exit, gunicorn

from .daphne import able_to_send
from .lifespan import live
from .line import Line
from .protocol import AnyApplication, Receive, Scope, Send
from .refusing import refuse
from .request import HandshakeRequest
from .stopping import follow

__all__ = ("Application", "application")

logger = logging.getLogger("dwebsocket.asgi")

#: Attributes by which applications that wrap another one name it.
_INNER = ("application", "app")


def _handler_in(app: Any) -> ASGIHandler | None:
    """Return Django's handler behind an application, with its middleware."""
    for _ in range(20):
        if isinstance(app, ASGIHandler) and app._middleware_chain is not None:  # type: ignore[attr-defined]  # noqa: SLF001
            return app
        names = [name for name in _INNER if getattr(app, name, None) is not None]
        if not names:
            return None
        app = getattr(app, names[0])
    return None


def _open(response: HttpResponseBase) -> None:
    """Start the view if the response is that of an accepted handshake."""
    if response.status_code == 101:
        for _ in response:
            pass


class Application:
    """An ASGI application; see :func:`application`."""

    #: The system check W007 looks for this.
    serves_websockets = True

    def __init__(self, inner: AnyApplication, adopt: bool) -> None:
        self._inner = inner
        self._adopt = adopt
        self._handler: ASGIHandler | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope: a request, a WebSocket, or the life of the server."""
        kind = scope["type"]
        if kind == "websocket":
            await self._serve(scope, receive, send)
        elif kind == "lifespan":
            await live(self._inner, scope, receive, send)
        else:
            await self._inner(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = Line(send, self._adopt)
        try:
            if (await receive())["type"] != "websocket.connect":
                return
            # The worker is found on the stack of its loop's thread.
            gunicorn.worker()
            async with ThreadSensitiveContext():
                await self._shake_hands(scope, line, send)
            if line.taken:
                await _let_go(line, receive, send)
            elif line.far is not None:
                await _carry(line, receive, send)
        finally:
            line.close()

    async def _shake_hands(self, scope: Scope, line: Line, send: Send) -> None:
        """Start the view of a handshake, or refuse it."""
        response = await self._respond(scope, line)
        try:
            if not line.is_open:
                line.resume()
                await refuse(scope, send, response)
        finally:
            await sync_to_async(response.close)()

    async def _respond(self, scope: Scope, line: Line) -> HttpResponseBase:
        """Pass a handshake through the middleware to its view, and start the view."""
        handler = self._handler
        if handler is None:
            handler = self._handler = _handler_in(self._inner) or ASGIHandler()
        # Django's own function for this is elsewhere in Django 4.2.
        prefix = django_settings.FORCE_SCRIPT_NAME or scope.get("root_path")
        set_script_prefix(prefix or "")
        await sync_to_async(signals.request_started.send)(
            sender=type(handler), scope=scope
        )
        try:
            request = HandshakeRequest(scope, line.hold)
        except UnicodeDecodeError:
            return HttpResponseBadRequest()
        response: HttpResponseBase = await handler.get_response_async(request)
        try:
            await sync_to_async(_open)(response)
        except Exception as error:
            await sync_to_async(response.close)()
            failed: HttpResponseBase
            failed = await sync_to_async(response_for_exception)(request, error)
            return failed
        return response


async def _carry(line: Line, receive: Receive, send: Send) -> None:
    """Carry the messages of an open WebSocket."""
    assert line.far is not None
    exit.listen_under_asgi(at_once=True)
    follow(send)
    send = able_to_send(send)
    line.resume()
    try:
        await send(line.accepted)
    except Exception as error:
        # The peer has gone; ASGI 2.4 has an OSError for that.
        logger.debug("The server has failed to accept: %r", error)
        return
    await line.carrier.run(line.far, receive, send, line.patience)


async def _let_go(line: Line, receive: Receive, send: Send) -> None:
    """Have the server end its part of a connection that the engine has.

    The server writes into the other end of a socket pair, and then reads the end of the
    file there, as if the peer had gone.
    """
    exit.listen_under_asgi(at_once=False)
    with contextlib.suppress(Exception):
        await send({"type": "websocket.accept"})
        line.resume()
        while (await receive())["type"] != "websocket.disconnect":
            pass


def application(inner: AnyApplication, *, adopt: bool = True) -> Application:
    """Return an ASGI application that serves HTTP as ``inner`` does, and WebSockets.

    Args:
        inner: Django's application, from ``get_asgi_application()``; also one that
            wraps it. A handshake passes through the middleware of Django's.
        adopt: Whether the engine takes the socket over from servers that keep it where
            it can be found: uvicorn, gunicorn and hypercorn. Otherwise, and under other
            servers, the server reads and writes the frames.

    Raises:
        ConfigurationError: ``inner`` cannot be called.
    """
    if not callable(inner):
        raise ConfigurationError(
            f"application() takes an ASGI application, not {inner!r}: "
            "dwebsocket.asgi.application(get_asgi_application())."
        )
    return Application(inner, adopt)

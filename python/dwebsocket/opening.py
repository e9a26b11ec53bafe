"""The opening handshake: who may open a WebSocket, and the answer to who may not."""

from __future__ import annotations

import errno
import logging
import resource
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response
from django.utils.module_loading import import_string

from . import (
    _engine,
    broker,
    capacity,
    last_resort,
    origin,
    plain,
    runners,
    servers,
    shutdown,
    signals,
)
from .conf import Profile, profile, settings
from .context import RequestContext, carried
from .exceptions import ConfigurationError, HandshakeError, SocketUnavailable
from .handoff import Handoff, HandoffResponse, mark
from .reporting import shown
from .runners import Call

__all__ = ("Opening", "Subprotocols", "wants_websocket")

#: What sessions speak (docs/client.md): every view may be one.
SESSION_PROTOCOL = "dwebsocket.v1"

logger = logging.getLogger("dwebsocket.handshake")
security_logger = logging.getLogger("django.security.dwebsocket")
last_resort.attach(security_logger)

#: When a client may try again.
_LATER = (("Retry-After", "10"),)

Subprotocols: TypeAlias = (
    "Sequence[str] | Callable[[HttpRequest, list[str]], str | None] | None"
)


def _factory(request: HttpRequest) -> Any:
    return import_string(settings.FACTORY_CLASS)(request)


def wants_websocket(request: HttpRequest) -> bool:
    """Return whether a request asks for a WebSocket."""
    if "HTTP_UPGRADE" not in request.META:
        return False
    return bool(_factory(request).is_websocket())


def _limit() -> int:
    """Return how many connections this process may have.

    By default three quarters of the files it may open, past which the server could not
    accept a plain request any more, and no more than there are threads for views.
    """
    if settings.MAX_CONNECTIONS is not None:
        return min(int(settings.MAX_CONNECTIONS), 1 << 62)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max(soft * 3 // 4, 1) if soft != resource.RLIM_INFINITY else 1 << 30
    return min(files, capacity.views())


def _refuse(
    request: HttpRequest,
    status: int,
    message: str,
    headers: Sequence[tuple[str, str]] = (),
    log: logging.Logger = logger,
    level: str | None = None,
) -> HttpResponse:
    response = HttpResponse(
        message + "\n",
        status=status,
        content_type="text/plain; charset=utf-8",
        headers=dict(headers),
    )
    plain.vary(response)
    if signals.websocket_rejected.receivers:
        signals.send(
            signals.websocket_rejected,
            type(request),
            request=request,
            status=status,
            reason=message,
        )
    log_response(
        "WebSocket refused (%s): %s: %s",
        status,
        shown(request.path),
        shown(message),
        response=response,
        request=request,
        logger=log,
        level=level,
    )
    return response


def _refuse_without_thread(request: HttpRequest, error: Exception) -> HttpResponse:
    return _refuse(
        request,
        503,
        "This process can start no thread for another WebSocket: "
        f"{error or type(error).__name__}.",
        _LATER,
    )


def _check_head(request: HttpRequest, view_profile: Profile) -> _engine.Handshake:
    """Check the request's head against RFC 6455 section 4.2.1.

    Raises:
        HandshakeError: It is not an acceptable handshake.
    """
    meta = request.META
    spoken = meta.get("SERVER_PROTOCOL", "HTTP/1.1")
    if spoken != "HTTP/1.1":
        # HTTP/2 has a handshake of another kind (RFC 8441), without Upgrade.
        raise HandshakeError(
            f"A WebSocket needs HTTP/1.1, and this is {spoken or 'something else'}. "
            "(Behind nginx: proxy_http_version 1.1.)"
        )
    if meta.get("CONTENT_LENGTH") not in (None, "", "0") or meta.get(
        "HTTP_TRANSFER_ENCODING"
    ):
        raise HandshakeError("A WebSocket handshake has no body.")
    return _engine.handshake(
        method=request.method or "",
        connection=meta.get("HTTP_CONNECTION", ""),
        upgrade=meta.get("HTTP_UPGRADE", ""),
        key=meta.get("HTTP_SEC_WEBSOCKET_KEY"),
        version=meta.get("HTTP_SEC_WEBSOCKET_VERSION"),
        protocols=meta.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""),
        extensions=meta.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""),
        options=view_profile.options,
    )


def _cannot_hold(request: HttpRequest, error: OSError) -> HttpResponse:
    if isinstance(error, servers.SocketBusy):
        return _refuse(request, 503, str(error), _LATER, level="warning")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        message = f"This process has no file descriptor left: {error}."
        return _refuse(request, 503, message, _LATER, level="error")
    return _refuse(request, 501, f"The socket of this request is not usable: {error}.")


class Opening:
    """Answers the handshakes for one decorated view.

    Args:
        dialect: The decorator's own dialect.
        subprotocols: What the decorator was told about subprotocols.
        overrides: The decorator's settings.
    """

    def __init__(
        self,
        dialect: str = "classic",
        subprotocols: Subprotocols = None,
        overrides: tuple[tuple[str, Any], ...] = (),
    ) -> None:
        if isinstance(subprotocols, str):
            raise ConfigurationError("subprotocols must be a list, not one string.")
        self._dialect = dialect
        self._subprotocols = subprotocols
        self._overrides = overrides
        #: Whether a client was told of that offers what is not taken.
        self._untaken = False

    def respond(
        self,
        request: HttpRequest,
        view: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> HttpResponse:
        """Return the response that starts the view, or a refusal."""
        mark(request, True)
        try:
            return self._accept(request, Call(view, request, args, kwargs))
        except HandshakeError as error:
            return _refuse(request, error.status, error.message, error.headers)
        except SocketUnavailable as error:
            return _refuse(request, 501, str(error))
        except servers.ClientGone:
            return HttpResponse(status=400)  # nobody reads it

    def _accept(self, request: HttpRequest, call: Call) -> HttpResponse:
        view_profile = profile(self._dialect, self._overrides)
        handshake = _check_head(request, view_profile)
        if not origin.allowed(request, view_profile.allowed_origins):
            return _refuse(
                request,
                403,
                origin.explain(request),
                log=security_logger,
            )
        subprotocol = self._choose(request, handshake.protocols)
        server = servers.known(request.META, _factory(request).get_wsgi_sock())
        # Taken here: response middleware may set language and time zone back. And
        # before a thread, a descriptor and a place are held: exceptions inside asgiref
        # keep the frames that call this until the garbage collector runs.
        call.carried = carried(request) or ()
        context = RequestContext()
        return self._hand_over(
            request, call, server, context, (handshake, subprotocol, view_profile)
        )

    def _hand_over(
        self,
        request: HttpRequest,
        call: Call,
        server: servers.ServerSocket,
        context: RequestContext,
        agreed: tuple[_engine.Handshake, str | None, Profile],
    ) -> HttpResponse:
        """Return the response that holds all that the WebSocket needs."""
        # All that takes a thread comes at a moment at which it can still be refused.
        try:
            _engine.start()
            shutdown.arm()
        except (OSError, RuntimeError, MemoryError) as error:
            return _refuse_without_thread(request, error)
        permit = _engine.reserve(_limit())
        if permit is None:
            return _refuse(
                request,
                503,
                f"This process has {_engine.connection_count()} WebSockets open, which "
                "is the limit (DWEBSOCKET['MAX_CONNECTIONS'], or what the system has "
                "of files and threads).",
                _LATER,
                level="warning",
            )
        try:
            held = servers.Held(server)
        except OSError as error:
            return _cannot_hold(request, error)
        runner = runners.kind()
        try:
            seat = runner.reserve()
        except (RuntimeError, MemoryError) as error:
            held.close()
            return _refuse_without_thread(request, error)
        except OSError as error:
            held.close()
            return _cannot_hold(request, error)
        broker.note_server(bool(request.META.get("wsgi.multiprocess")))
        broker.connect()
        handoff = Handoff(*agreed, permit, held, call, runner, seat, context)
        servers.release_with(request, handoff)
        return HandoffResponse(handoff)

    def _choose(self, request: HttpRequest, offered: list[str]) -> str | None:
        """Return the subprotocol to speak.

        Raises:
            ConfigurationError: The project's function returned one that the client
                does not speak, which RFC 6455 section 4.2.2 forbids.
        """
        chosen = None
        if callable(self._subprotocols):
            chosen = self._subprotocols(request, list(offered))
            if chosen is not None and chosen not in offered:
                raise ConfigurationError(
                    f"The subprotocol {chosen!r} is not one of those that the client "
                    f"offers: {offered!r}"
                )
        elif self._subprotocols is not None:
            known = self._subprotocols
            chosen = next((name for name in known if name in offered), None)
        if chosen is None and SESSION_PROTOCOL in offered:
            # dwebsocket.js offers it; a browser gives a connection up where nothing
            # of its offer is taken.
            return SESSION_PROTOCOL
        if chosen is None and offered and not self._untaken:
            # What was offered is not repeated: some put a token there.
            self._untaken = True
            logger.warning(
                "%s: the client offers subprotocols, and this view takes none of them: "
                "a browser then gives the connection up. Name what the view speaks, as "
                "in @websocket(subprotocols=[...]), or let the page offer nothing. "
                "(Said once for each view.)",
                request.path,
                extra={"request": request},
            )
        return chosen

"""The opening handshake: who may open a WebSocket, and the answer to who may not."""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response
from django.utils.module_loading import import_string

from . import _engine, broker, last_resort, origin, plain, signals
from .conf import Profile, profile, settings
from .exceptions import ConfigurationError, HandshakeError, SocketUnavailable
from .handoff import Handoff, HandoffResponse, mark
from .runners import Call

__all__ = ("Opening", "Subprotocols", "wants_websocket")

logger = logging.getLogger("dwebsocket.handshake")
security_logger = logging.getLogger("django.security.dwebsocket")
last_resort.attach(security_logger)

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

    By default three quarters of the files it may open: past that the server could not
    accept a plain request any more.
    """
    if settings.MAX_CONNECTIONS is not None:
        return int(settings.MAX_CONNECTIONS)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft * 3 // 4, 1) if soft != resource.RLIM_INFINITY else 1 << 30


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
        request.path,
        message,
        response=response,
        request=request,
        logger=log,
        level=level,
    )
    return response


def _check_head(request: HttpRequest, view_profile: Profile) -> _engine.Handshake:
    """Check the request's head against RFC 6455 section 4.2.1.

    Raises:
        HandshakeError: It is not an acceptable handshake.
    """
    meta = request.META
    if meta.get("SERVER_PROTOCOL") in ("HTTP/1.0", "HTTP/0.9"):
        raise HandshakeError(
            "A WebSocket needs HTTP/1.1. (Behind nginx: proxy_http_version 1.1.)"
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
        broker.note_server(bool(request.META.get("wsgi.multiprocess")))
        broker.connect()
        server = _factory(request).get_wsgi_sock()
        permit = _engine.reserve(_limit())
        if permit is None:
            return _refuse(
                request,
                503,
                f"This process has {_engine.connection_count()} WebSockets open, which "
                "is the limit (DWEBSOCKET['MAX_CONNECTIONS']).",
                [("Retry-After", "10")],
                level="warning",
            )
        return HandoffResponse(
            Handoff(handshake, subprotocol, view_profile, permit, server, call)
        )

    def _choose(self, request: HttpRequest, offered: list[str]) -> str | None:
        """Return the subprotocol to speak.

        Raises:
            ConfigurationError: The project's function returned one that the client
                does not speak, which RFC 6455 section 4.2.2 forbids.
        """
        if self._subprotocols is None:
            return None
        if callable(self._subprotocols):
            chosen = self._subprotocols(request, list(offered))
            if chosen is not None and chosen not in offered:
                raise ConfigurationError(
                    f"The subprotocol {chosen!r} is not one of those that the client "
                    f"offers: {offered!r}"
                )
            return chosen
        return next((name for name in self._subprotocols if name in offered), None)

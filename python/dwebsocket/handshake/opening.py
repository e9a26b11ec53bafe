"""The decision on an opening handshake, the same for every transport."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse

from dwebsocket import _engine
from dwebsocket.conf import Profile, profile
from dwebsocket.exceptions import ConfigurationError, HandshakeError
from dwebsocket.process import last_resort
from dwebsocket.process.reporting import shown

from . import origin
from .refusal import refuse
from .request import mark

__all__ = ("SESSION_PROTOCOL", "Accept", "Accepted", "Opening", "Subprotocols")

#: A name of a subprotocol: a token of HTTP.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: The subprotocol of sessions (docs/client.md); any view may serve one.
SESSION_PROTOCOL = "dwebsocket.v1"

logger = logging.getLogger("dwebsocket.handshake")
security_logger = logging.getLogger("django.security.dwebsocket")
last_resort.attach(security_logger)


def _refused_by_others(record: logging.LogRecord) -> bool:
    """Return whether Django has logged the refusal of a handshake.

    The refusal is that of a middleware, an outer decorator or the URLconf (404), a
    mistake of the project (500), or that of a host that is not in ``ALLOWED_HOSTS``.
    """
    meta = getattr(getattr(record, "request", None), "META", {})
    upgrade = str(meta.get("HTTP_UPGRADE", ""))
    # Errors of WebSocket views are also given to the handlers of these loggers.
    return record.name in _OTHERS and upgrade.lower() == "websocket"


_OTHERS = ("django.request", "django.security.DisallowedHost")
for _other in _OTHERS:
    last_resort.attach(logging.getLogger(_other), _refused_by_others)

Subprotocols: TypeAlias = (
    "Sequence[str] | Callable[[HttpRequest, list[str]], str | None] | None"
)

#: Who accepts: the decorator ("auto"), or the view ("manual").
Accept: TypeAlias = Literal["auto", "manual"]


class Accepted(NamedTuple):
    """A handshake that may become a WebSocket; a transport acts on it.

    Args:
        handshake: The request's headers, parsed and checked by the engine.
        subprotocol: The chosen subprotocol, or None.
        profile: The settings of the view.
        factory: Finds the socket and makes the WebSocket.
    """

    handshake: _engine.Handshake
    subprotocol: str | None
    profile: Profile
    factory: Any


def _check_head(request: HttpRequest, view_profile: Profile) -> _engine.Handshake:
    """Check the request's head against RFC 6455 section 4.2.1.

    Raises:
        HandshakeError: The handshake is not acceptable.
    """
    meta = request.META
    spoken = meta.get("SERVER_PROTOCOL", "HTTP/1.1")
    if spoken != "HTTP/1.1":
        # HTTP/2 has another handshake (RFC 8441), without an Upgrade header.
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


def _check_subprotocols(subprotocols: Any) -> None:
    """Make sure that a view's subprotocols are a list of names, a function, or None.

    Raises:
        ConfigurationError: They are something else.
    """
    if subprotocols is None:
        return
    if callable(subprotocols):
        if iscoroutinefunction(subprotocols):
            raise ConfigurationError(
                "subprotocols must be a function that returns a name: a coroutine "
                "function ('async def') has none to return."
            )
        return
    if isinstance(subprotocols, str):
        raise ConfigurationError("subprotocols must be a list, not one string.")
    if not isinstance(subprotocols, Collection):
        raise ConfigurationError(
            "subprotocols must be a list of names, or a function, not "
            f"{subprotocols!r}."
        )
    for name in subprotocols:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"subprotocols has {name!r}, which is no name of a subprotocol: no "
                "client could offer it (RFC 6455 section 4.1)."
            )


class Opening:
    """Decides on the handshakes for one decorated view.

    Args:
        dialect: The decorator's own dialect.
        subprotocols: The decorator's argument ``subprotocols``.
        overrides: The decorator's settings.
        by_hand: Whether the view itself accepts, and may choose a subprotocol then.

    Raises:
        ConfigurationError: The subprotocols are neither names nor a function.
    """

    def __init__(
        self,
        dialect: str = "classic",
        subprotocols: Subprotocols = None,
        overrides: tuple[tuple[str, Any], ...] = (),
        by_hand: bool = False,
    ) -> None:
        _check_subprotocols(subprotocols)
        self._dialect = dialect
        self._subprotocols = subprotocols
        self._overrides = overrides
        #: Whether the log needs no (further) warning that this view took none of the
        #: offered subprotocols.
        self._untaken = by_hand

    def speaking(self, subprotocols: Subprotocols) -> Opening:
        """Return an opening with the same settings and other subprotocols."""
        return Opening(self._dialect, subprotocols, self._overrides)

    def decide(self, request: HttpRequest, factory: Any) -> Accepted | HttpResponse:
        """Return the accepted handshake, or the response that refuses it.

        Args:
            request: The handshake, or REST framework's wrapper of it.
            factory: The result of :func:`dwebsocket.handshake.request.asks`.
        """
        mark(request, True)
        view_profile = profile(self._dialect, self._overrides)
        try:
            handshake = _check_head(request, view_profile)
        except HandshakeError as error:
            return refuse(request, error.status, error.message, error.headers)
        if not origin.allowed(request, view_profile.allowed_origins):
            return refuse(request, 403, origin.explain(request), log=security_logger)
        subprotocol = self.choose(request, handshake.protocols)
        return Accepted(handshake, subprotocol, view_profile, factory)

    def choose(self, request: HttpRequest, offered: list[str]) -> str | None:
        """Return the subprotocol to speak.

        Args:
            request: The handshake.
            offered: The subprotocols that the client offers.

        Raises:
            ConfigurationError: The project's function returned a subprotocol that the
                client did not offer, which RFC 6455 section 4.2.2 forbids.
        """
        chosen = None
        if callable(self._subprotocols):
            chosen = self._subprotocols(request, list(offered))
            if chosen is not None and chosen not in offered:
                raise ConfigurationError(
                    f"The client does not offer the subprotocol {chosen!r}. It offers "
                    f"{offered!r}."
                )
        elif self._subprotocols is not None:
            known = self._subprotocols
            chosen = next((name for name in known if name in offered), None)
        if chosen is None and SESSION_PROTOCOL in offered:
            # dwebsocket.js offers this subprotocol; a browser gives the connection up
            # if the server takes none of the offered ones.
            return SESSION_PROTOCOL
        if chosen is None and offered and not self._untaken:
            # The log leaves the offer out: some clients put a token there.
            self._untaken = True
            logger.warning(
                "%s: the client offers subprotocols, and this view takes none of them: "
                "a browser then closes the connection. Name the view's subprotocols, "
                "as in @websocket(subprotocols=[...]), or let the page offer none. "
                "(Logged once for each view.)",
                shown(request.path),
                extra={"request": request},
            )
        return chosen

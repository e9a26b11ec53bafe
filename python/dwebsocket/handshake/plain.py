"""The answer to a plain HTTP request to a decorated view."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.log import log_response

from dwebsocket.process.reporting import name_of, shown

from . import failures
from .request import mark

__all__ = ("answer", "vary")

logger = logging.getLogger("dwebsocket.handshake")

#: For a request that was a handshake until a proxy dropped its Upgrade header.
_LOST = (
    "This request has the header Sec-WebSocket-Key but no Upgrade header, so it is not "
    "a handshake: a proxy on the way has dropped it. For nginx, in the location: "
    "proxy_http_version 1.1; proxy_set_header Host $http_host; "
    "proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade";'
)

_OPEN = (
    "Open it with a WebSocket client, such as new WebSocket(...) in a page's script.\n"
    "(A view that also answers plain HTTP calls request.is_websocket() first, and "
    "returns a response.)"
)
_ASGI = (
    "This site is served by ASGI, and its application does not serve WebSockets: write "
    "application = dwebsocket.asgi.application(get_asgi_application()) in asgi.py."
)


def vary(response: Any) -> Any:
    """Add ``Vary: Upgrade``: caches must not give this response to a handshake."""
    if isinstance(response, HttpResponseBase):
        patch_vary_headers(response, ["Upgrade"])
    return response


def answer(
    request: HttpRequest,
    view: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    require: bool,
    named: Any = None,
) -> Any:
    """Return a view's response to plain HTTP.

    The response is 426 if the view returns None, or fails because
    ``request.websocket`` is None; 400 if the view requires a WebSocket.

    Args:
        request: The request.
        view: The view.
        args: The view's arguments.
        kwargs: The view's keyword arguments.
        require: Whether the view answers handshakes only.
        named: The view that the log names; None: ``view``.
    """
    question = mark(request, False)
    lost = "HTTP_SEC_WEBSOCKET_KEY" in request.META
    if lost:
        path = shown(request.path)
        logger.warning("%s: %s", path, _LOST, extra={"request": request})
    if require:
        return vary(HttpResponseBadRequest())
    why = "needs a WebSocket, and this was plain HTTP"
    try:
        response = view(*args, **kwargs)
        if response is not None:
            return vary(response)
        # The view has "if request.is_websocket(): ..." and no other branch.
        why = "has no answer (None) to plain HTTP"
    except (AttributeError, TypeError) as error:
        # A view that called is_websocket() and then fails has another mistake.
        if question.asked or not failures.needed(error):
            raise
    return vary(_upgrade_required(request, named or view, lost, why))


def _upgrade_required(
    request: HttpRequest, view: Callable[..., Any], lost: bool, why: str
) -> HttpResponse:
    if lost:
        more = _LOST
    elif hasattr(request, "scope") and "dwebsocket.asgi.entry" not in sys.modules:
        more = _ASGI
    else:
        more = _OPEN
    response = HttpResponse(
        f"This address is for WebSockets only.\n{more}\n",
        status=426,
        content_type="text/plain; charset=utf-8",
    )
    # RFC 9110 section 15.5.22 wants the headers Upgrade and Connection. PEP 3333
    # forbids them to applications: most servers answer 500 then. gunicorn accepts these
    # two, for WebSockets.
    if str(request.META.get("SERVER_SOFTWARE", "")).startswith("gunicorn"):
        response["Upgrade"] = "websocket"
        response["Connection"] = "Upgrade"
    log_response(
        "Upgrade Required: %s: %s %s",
        shown(request.path),
        name_of(view),
        why,
        response=response,
        request=request,
        logger=logger,
    )
    return response

"""The page, and the view that the page connects to."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from dwebsocket.conf.sections import socket_address
from dwebsocket.decorators import websocket

from .permissions import may_see
from .session import MonitorSession
from .words import words

__all__ = ("page", "socket")


def page(request: HttpRequest) -> HttpResponse:
    """Return the page; its script fills it."""
    context = {
        **admin.site.each_context(request),
        "title": _("WebSockets"),
        "socket": socket_address("monitor", request),
        "words": words(),
    }
    return TemplateResponse(request, "dwebsocket/monitor/page.html", context)


# Only pages of this site: what ALLOWED_ORIGINS allows is for the site's own views.
@websocket(allowed_origins=())
def _serve(request: Any) -> HttpResponse | None:
    if not request.is_websocket():
        return HttpResponse("This address is for WebSockets.\n", status=426)
    MonitorSession(request.websocket, request).run()
    return None


def socket(request: HttpRequest) -> Any:
    """Serve the WebSocket of a page of staff; answer others in plain HTTP."""
    if not may_see(request):
        return HttpResponse("Please log in as a member of the staff.\n", status=403)
    return _serve(request)

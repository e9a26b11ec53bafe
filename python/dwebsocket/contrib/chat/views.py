"""The one address that pages connect to, whatever their rooms."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from dwebsocket.decorators import websocket

from .session import ChatSession

__all__ = ("socket",)


# Who does not read is cut off, and comes back to what it has missed. The size is that
# of the longest message there may be, with all of it escaped.
@websocket(overflow="close", max_message_size=262_144)
def socket(request: Any) -> Any:
    """Serve a page."""
    if not request.is_websocket():
        return HttpResponse("This address is for WebSockets.\n", status=426)
    ChatSession(request.websocket, request).run()
    return None

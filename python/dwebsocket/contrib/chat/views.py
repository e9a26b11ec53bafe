"""The view that all pages connect to, for all rooms."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from dwebsocket.decorators import websocket

from .session import ChatSession

__all__ = ("socket",)


# A page that does not read is disconnected; it reconnects and gets the messages that it
# missed. The size is that of the longest possible message with all characters escaped.
@websocket(overflow="close", max_message_size=262_144)
def socket(request: Any) -> Any:
    """Serve the WebSocket of a page."""
    if not request.is_websocket():
        return HttpResponse("This address is for WebSockets.\n", status=426)
    ChatSession(request.websocket, request).run()
    return None

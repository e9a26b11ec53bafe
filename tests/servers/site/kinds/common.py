"""What the views of all kinds share."""

from __future__ import annotations

from typing import Any

#: The arguments of the decorators.
TALK: dict[str, Any] = {"subprotocols": ["second", "first"], "send_timeout": 1.0}
LARGE: dict[str, Any] = {"max_message_size": 2 << 20}
BOUNDED: dict[str, Any] = {"overflow": "drop_oldest", "outbox_messages": 16}

#: Messages that ``talk`` pours out to a peer that reads nothing.
FLOOD = 10_000


def about(request: Any, ws: Any) -> dict[str, Any]:
    """Return what a view knows of its request."""
    return {
        "path": request.get_full_path(),
        "method": request.method,
        "secure": request.is_secure(),
        "scheme": request.META["wsgi.url_scheme"],
        "agent": request.headers.get("User-Agent"),
        "cookie": request.COOKIES.get("flavour"),
        "address": list(ws.remote_address),
        "subprotocol": ws.subprotocol,
        "user": request.user.get_username(),
        "id": request.user.pk,
        "count": request.session.get("count"),
        "stamps": getattr(request, "stamps", []),
        "language": request.LANGUAGE_CODE,
    }

"""Django signals of WebSockets.

Receivers run in the thread that causes the signal, usually that of the view; never in a
thread of the engine. An exception in a receiver is logged and has no other effect. A
signal without receivers costs nothing.

websocket_opened    before the view starts: ``websocket``, ``request``
websocket_message   the view has read a message: ``websocket``, ``message``
websocket_closed    the view has ended: ``websocket``, ``request``, ``code``, ``reason``
websocket_rejected  a handshake was refused: ``request``, ``status``, ``reason``
group_joined        ``websocket``, ``group``
group_left          by leave(), or with the connection: ``websocket``, ``group``

The sender is the class of the WebSocket (of the request, for a rejected one).
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

__all__ = (
    "group_joined",
    "group_left",
    "websocket_closed",
    "websocket_message",
    "websocket_opened",
    "websocket_rejected",
)

logger = logging.getLogger("dwebsocket.signals")

websocket_opened = Signal()
websocket_message = Signal()
websocket_closed = Signal()
websocket_rejected = Signal()
group_joined = Signal()
group_left = Signal()


def emit(signal: Signal, websocket: Any, **named: Any) -> None:
    """Send a signal about a WebSocket, if the signal has receivers."""
    if signal.receivers:
        send(signal, type(websocket), websocket=websocket, **named)


def send(signal: Signal, sender: Any, **named: Any) -> None:
    """Send a signal, and log the exceptions that receivers raise."""
    for receiver, result in signal.send_robust(sender, **named):
        if isinstance(result, Exception):
            logger.error("Error in the signal receiver %r", receiver, exc_info=result)

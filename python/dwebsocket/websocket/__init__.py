"""The WebSocket that a view uses, and the decorator of the same name.

``dwebsocket.websocket`` is both: a module, and a decorator::

    @dwebsocket.websocket
    def echo(request): ...

    isinstance(request.websocket, dwebsocket.websocket.WebSocket)

See :func:`dwebsocket.decorators.websocket` for the decorator's arguments.
"""

from __future__ import annotations

from .sync import WebSocket

__all__ = ("WebSocket",)

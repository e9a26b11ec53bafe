"""Runs ASGI applications as views, on every server.

    path("chat/<str:room>/", as_view(ChatConsumer.as_asgi()))

The application is a task of the event loop in which asynchronous views run. It begins
with the handshake, and decides on it: the request's thread waits for its answer.
"""

from __future__ import annotations

from .view import as_view

__all__ = ("as_view",)

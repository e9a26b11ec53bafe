"""Serves a site, with its WebSockets, under an ASGI server.

    # mysite/asgi.py
    from django.core.asgi import get_asgi_application

    from dwebsocket.asgi import application

    application = application(get_asgi_application())

HTTP requests go to Django's application untouched. A WebSocket's handshake becomes a
request for the same URLs, through the same middleware, and opens the WebSocket of the
same decorated views as under a WSGI server.
"""

from __future__ import annotations

from .entry import Application, application

__all__ = ("Application", "application")

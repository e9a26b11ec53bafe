"""Serves a site, with its WebSockets, under an ASGI server; and the other way round.

    # mysite/asgi.py
    from django.core.asgi import get_asgi_application

    from dwebsocket.asgi import application

    application = application(get_asgi_application())

HTTP requests go to Django's application untouched. A WebSocket's handshake becomes a
request for the same URLs, through the same middleware, and opens the WebSocket of the
same decorated views as under a WSGI server.

``as_view()`` makes a view of an ASGI application, for every server.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .apps import as_view
    from .entry import Application, application

__all__ = ("Application", "application", "as_view")

#: Imported when they are asked for: a site needs one of the two modules.
_MODULES = {"Application": "entry", "application": "entry", "as_view": "apps"}

# To type checkers, a __getattr__() would have every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = importlib.import_module(f"{__name__}.{_MODULES[name]}")
        return getattr(found, name)

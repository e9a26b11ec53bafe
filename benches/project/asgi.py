"""The ASGI applications for uvicorn: one gives the engine the sockets, one does not."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

import dwebsocket.asgi

django_application = get_asgi_application()
application = dwebsocket.asgi.application(django_application)
queued = dwebsocket.asgi.application(django_application, adopt=False)

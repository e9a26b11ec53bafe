"""The ASGI applications: one gives the sockets to the engine, one leaves them."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

import dwebsocket.asgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.servers.site.settings")
django_application = get_asgi_application()
application = dwebsocket.asgi.application(django_application)
queued = dwebsocket.asgi.application(django_application, adopt=False)

"""A site whose staff has the page of the WebSockets, under a strict policy.

``gunicorn tests.browser.staff_site``, or ``python -m tests.browser.staff_site`` with a
command of Django's; the file of its database is in BROWSER_DATABASE.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model, login
from django.contrib.staticfiles.views import serve as serve_static
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.python.contrib import project

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def strict(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """Allow pages nothing but the site's own files."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


if not settings.configured:
    known = {name: getattr(project, name) for name in dir(project) if name.isupper()}
    file = os.environ["BROWSER_DATABASE"]
    engine = "django.db.backends.sqlite3"
    known |= {
        "DEBUG": True,
        "ROOT_URLCONF": "tests.browser.staff_site",
        "DATABASES": {"default": {"ENGINE": engine, "NAME": file}},
        "MIDDLEWARE": ["tests.browser.staff_site.strict", *project.MIDDLEWARE],
        "DWEBSOCKET": {"MONITOR_DIRECTORY": f"{file}.figures"},
    }
    settings.configure(**known)
application = get_wsgi_application()  # before the views below are imported

from dwebsocket import websocket  # noqa: E402


def enter(request: HttpRequest) -> HttpResponse:
    """Log a user in; ``?kind=root`` may close connections, ``staff`` may look."""
    kind = request.GET.get("kind", "")
    fields = {"is_staff": kind in ("staff", "root"), "is_superuser": kind == "root"}
    name = request.GET["user"]
    user, _ = get_user_model().objects.get_or_create(username=name, defaults=fields)
    login(request, user)
    return HttpResponse(name)


@websocket
def room(request: Any, name: str) -> None:
    """Send back what comes, as a member of a group."""
    request.websocket.join(name)
    request.websocket.send("joined")
    for message in request.websocket:
        request.websocket.send(message)


urlpatterns = [
    path("", lambda request: HttpResponse("pong")),
    path("enter", enter),
    path("room/<path:name>", room),
    path("static/<path:path>", serve_static),
    path("admin/websockets/", include("dwebsocket.contrib.monitor.urls")),
    path("admin/", admin.site.urls),
]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

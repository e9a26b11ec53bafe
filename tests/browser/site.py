"""A site with the page of the tests and a real Session behind it.

``python -m tests.browser.site runserver``, or ``gunicorn tests.browser.site``; the
broker's URL, if there is one, is in BROWSER_BROKER.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.views import serve as serve_static
from django.core.exceptions import PermissionDenied
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import path

from dwebsocket import WebSocketView, on, push, websocket
from dwebsocket.session import Session

if not settings.configured:
    settings.configure(
        DEBUG=True,
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="tests.browser.site",
        MIDDLEWARE=[],
        INSTALLED_APPS=["django.contrib.staticfiles", "dwebsocket"],
        STATIC_URL="static/",
        DWEBSOCKET={
            "BROKER": os.environ.get("BROWSER_BROKER") or None,
            "GROUPS": {"chat.*": {"history": 10_000, "ttl": 600}},
        },
    )


class Open(Session):
    """Everybody may do everything, under a name of their own."""

    def may_join(self, group: str) -> bool:
        return group != "secret"

    def info(self, group: str) -> Any:
        return {"name": self.request.GET.get("name", "")}

    def on_data(self, data: Any) -> None:
        self.send_data(data)


class Desk(WebSocketView):
    """A class with typed messages."""

    groups = ["chat.desk"]

    @on("add")
    def add(self, a: int, b: int) -> int:
        return a + b

    @on("forbid")
    def forbid(self) -> None:
        raise PermissionDenied


def page(request: HttpRequest) -> HttpResponse:
    """Return the tests' page, with the module as the package brings it."""
    text = Path(__file__).with_name("client.html").read_text()
    module = static("dwebsocket/dwebsocket.js")
    return HttpResponse(text.replace("/dwebsocket.js", module))


def publish(request: HttpRequest) -> JsonResponse:
    """Publish a number to a group, from outside of any connection."""
    published = push.to_group(request.GET["group"], {"n": int(request.GET["n"])})
    assert published is not None
    return JsonResponse({"broker": published.broker})


@websocket
def serve(request: Any) -> None:
    """Speak the protocol."""
    Open(request.websocket, request).run()


urlpatterns = [
    path("", page),
    path("publish", publish),
    path("ws/", serve),
    path("desk/", Desk.as_view()),
    path("static/<path:path>", serve_static),  # runserver does it by itself
]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

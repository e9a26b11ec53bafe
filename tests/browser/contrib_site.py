"""A site with both contrib apps, and users who log in by asking.

``gunicorn tests.browser.contrib_site``, or ``python -m tests.browser.contrib_site``
with a command of Django's; the file of its database is in BROWSER_DATABASE.
"""

from __future__ import annotations

import os
import sys

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.staticfiles.views import serve as serve_static
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path

from tests.python.contrib import project

if not settings.configured:
    known = {name: getattr(project, name) for name in dir(project) if name.isupper()}
    file = os.environ["BROWSER_DATABASE"]
    engine = "django.db.backends.sqlite3"
    known |= {
        "DEBUG": True,
        "ROOT_URLCONF": "tests.browser.contrib_site",
        "DATABASES": {"default": {"ENGINE": engine, "NAME": file}},
    }
    settings.configure(**known)
application = get_wsgi_application()  # before the models below are imported

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>both</title>
<link rel="icon" href="data:,">
{% load dwebsocket_chat dwebsocket_push %}
<script>
  window.heard = [];
  window.taken = [];
  document.addEventListener("notification", (event) => heard.push(event));
  document.addEventListener("taken", (event) => taken.push(event.id));
</script>
{% push_notifications %}
{% chat_room "lobby" title="The lobby" %}
"""


def page(request: HttpRequest) -> HttpResponse:
    """Return the page, for the user ``?user=`` if there is one."""
    if name := request.GET.get("user"):
        login(request, get_user_model().objects.get_or_create(username=name)[0])
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


urlpatterns = [
    path("", page),
    path("push/", include("dwebsocket.contrib.push.urls")),
    path("chat/", include("dwebsocket.contrib.chat.urls")),
    path("static/<path:path>", serve_static),
]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

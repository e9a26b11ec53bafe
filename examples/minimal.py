"""A Django site in one file, with a WebSocket that sends every message back.

Run ``python examples/minimal.py runserver`` and open http://127.0.0.1:8000/. To run it
on gunicorn instead: ``gunicorn --chdir examples minimal``.
"""

from __future__ import annotations

import secrets
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from dwebsocket import websocket

settings.configure(
    DEBUG=True,
    SECRET_KEY=secrets.token_urlsafe(50),
    ROOT_URLCONF=__name__,
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Echo</title>
<form id="form">
  <label>Say <input id="text" autocomplete="off" autofocus></label>
  <button>Send</button>
</form>
<ul id="log" aria-live="polite"></ul>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "echo/");
  const show = (text) => log.append(
    Object.assign(document.createElement("li"), { textContent: text }));
  socket.onopen = () => show("connected");
  socket.onmessage = (event) => show(event.data);
  socket.onclose = () => show("disconnected");
  form.onsubmit = (event) => {
    event.preventDefault();
    socket.send(text.value);
    text.value = "";
  };
</script>
</html>
"""


def page(request):
    return HttpResponse(PAGE)


@websocket
def echo(request):
    if not request.is_websocket():
        return HttpResponse("please connect with a WebSocket")
    for message in request.websocket:
        request.websocket.send(message)


urlpatterns = [path("", page), path("echo/", echo)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
else:
    application = get_wsgi_application()

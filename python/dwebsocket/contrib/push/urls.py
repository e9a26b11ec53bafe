"""``path("push/", include("dwebsocket.contrib.push.urls"))``."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "dwebsocket_push"
urlpatterns = [path("", views.socket, name="socket")]

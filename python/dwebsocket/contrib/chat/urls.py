"""``path("chat/", include("dwebsocket.contrib.chat.urls"))``."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "dwebsocket_chat"
urlpatterns = [path("", views.socket, name="socket")]

"""``path("admin/websockets/", include("dwebsocket.contrib.monitor.urls"))``."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from . import views

app_name = "dwebsocket_monitor"
urlpatterns = [
    # The admin asks visitors to log in, and forbids caches to keep the page.
    path("", admin.site.admin_view(views.page), name="page"),
    path("live/", views.socket, name="socket"),
]

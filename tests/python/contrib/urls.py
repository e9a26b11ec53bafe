"""The contrib apps, as a project includes them."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("chat/", include("dwebsocket.contrib.chat.urls")),
    path("push/", include("dwebsocket.contrib.push.urls")),
]
if apps.is_installed("django.contrib.admin"):
    urlpatterns += [
        path("admin/websockets/", include("dwebsocket.contrib.monitor.urls")),
        path("admin/", admin.site.urls),
    ]

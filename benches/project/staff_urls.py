"""The addresses for ``monitor_page.py``: the page for staff, who log in by asking."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model, login
from django.contrib.staticfiles.views import serve
from django.shortcuts import redirect
from django.urls import include, path
from views import echo, hello


def enter(request):
    """Log a superuser in, and show the page."""
    user, _ = get_user_model().objects.get_or_create(
        username="ana", defaults={"is_staff": True, "is_superuser": True}
    )
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    return redirect("dwebsocket_monitor:page")


urlpatterns = [
    path("hello", hello),
    path("echo", echo),
    path("enter", enter),
    path("static/<path:path>", serve, {"insecure": True}),
    path("admin/websockets/", include("dwebsocket.contrib.monitor.urls")),
    path("admin/", admin.site.urls),
]

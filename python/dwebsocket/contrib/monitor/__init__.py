"""A page for staff: the WebSockets of the site, live, beside Django's admin.

    INSTALLED_APPS = ["dwebsocket.contrib.monitor", "django.contrib.admin", ...]

    urlpatterns = [
        path("admin/websockets/", include("dwebsocket.contrib.monitor.urls")),
        path("admin/", admin.site.urls),
    ]

The guide: docs/monitor.md.
"""

from __future__ import annotations

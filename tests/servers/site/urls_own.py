"""URLs under the site's own middleware."""

from __future__ import annotations

from django.urls import path

from . import own_middleware, plain, tutorial

urlpatterns = [
    path("ping", plain.ping),
    path("info", plain.info),
    path("own/echo", own_middleware.echo),
    path("own/fail", own_middleware.fail),
    path("own/large", own_middleware.large),
    path("own/other", own_middleware.other),
    path("own/decorated", tutorial.echo),
]

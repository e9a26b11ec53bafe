"""The addresses for ``floods.py``."""

from __future__ import annotations

from django.urls import path
from flood_views import bye, discard, download, echo, hello, hold, think

urlpatterns = [
    path("hello", hello),
    path("echo", echo),
    path("discard", discard),
    path("think", think),
    path("hold", hold),
    path("bye", bye),
    path("download", download),
]

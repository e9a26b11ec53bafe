"""The addresses for ``monitor.py``."""

from __future__ import annotations

from django.urls import path
from views import echo, hello

from dwebsocket import monitor

urlpatterns = [
    path("hello", hello),
    path("echo", echo),
    path("metrics", monitor.metrics),
]

"""The addresses that the load program knows."""

from __future__ import annotations

from django.urls import path
from views import echo, hello, listen, loop

urlpatterns = [
    path("hello", hello),
    path("echo", echo),
    path("listen", listen),
    path("loop", loop),
    # The names that the hub's views have.
    path("member", listen),
    path("publish", loop),
]

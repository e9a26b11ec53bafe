"""The addresses that the load program knows."""

from __future__ import annotations

from django.urls import path
from views import chat, echo, hello, listen, loop

urlpatterns = [
    path("hello", hello),
    path("echo", echo),
    path("chat", chat),
    path("listen", listen),
    path("loop", loop),
]

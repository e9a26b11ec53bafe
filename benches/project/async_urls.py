"""The addresses of the benchmarks of asynchronous views."""

from __future__ import annotations

from async_views import echo, hello, member, publish
from django.urls import path

urlpatterns = [
    path("hello", hello),
    path("echo", echo),
    path("member", member),
    path("publish", publish),
]

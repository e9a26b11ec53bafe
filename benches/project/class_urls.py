"""The addresses of the benchmarks of classes with handlers."""

from __future__ import annotations

from class_views import Echo, Listener, Member, Publish, hello, push
from django.urls import path

urlpatterns = [
    path("hello", hello),
    path("echo", Echo.as_view()),
    path("listener", Listener.as_view()),
    path("push", push),
    path("member", Member.as_view()),
    path("publish", Publish.as_view()),
]

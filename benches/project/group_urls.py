"""The addresses of the hub's benchmarks."""

from __future__ import annotations

from django.urls import path
from group_views import GROUP, KEPT, hello, member, publish, taken, timed
from views import echo

urlpatterns = [
    path("hello", hello),
    path("echo", echo),
    path("member", member, {"group": GROUP}),
    path("publish", publish, {"group": GROUP}),
    path("member/kept", member, {"group": KEPT}),
    path("publish/kept", publish, {"group": KEPT}),
    path("timed/<str:to>", timed),
    path("taken", taken),
]

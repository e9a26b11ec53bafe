"""The addresses for ``monitor.py``; each answer has the processor time of its view."""

from __future__ import annotations

import time

from django.urls import path
from views import echo, hello

from dwebsocket import monitor


def timed(view):
    """Wrap a view: a header of its response has its processor time in milliseconds."""

    def call(request):
        began = time.thread_time()
        response = view(request)
        response["X-Cost"] = str(1e3 * (time.thread_time() - began))
        return response

    return call


urlpatterns = [
    path("hello", timed(hello)),
    path("echo", echo),
    path("metrics", timed(monitor.metrics)),
]

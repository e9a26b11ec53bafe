"""The views of the behaviours, once in each kind of view.

Each module has the same views: ``echo``, ``large``, ``talk``, which does what its
messages say, and ``bounded``, which loses messages for a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.urls import URLPattern, path

from . import applications, coroutines, functions, handlers, http, tasks

Views = Mapping[str, Callable[..., Any]]

#: In what a view of each kind runs, as the monitor shows it. Under gevent, greenlets
#: take the place of threads.
RUNS_IN = {
    "def": "thread",
    "async": "task",
    "class": "handler",
    "async-class": "handler",
    "application": "task",
}

#: By the name of the kind, which is a part of the URL.
KINDS: dict[str, Views] = {
    "def": functions.VIEWS,
    "async": tasks.VIEWS,
    "class": handlers.VIEWS,
    "async-class": coroutines.VIEWS,
    "application": applications.VIEWS,
}

URLS: list[URLPattern] = [
    *(
        path(f"kinds/{kind}/{name}", view)
        for kind, views in KINDS.items()
        for name, view in views.items()
    ),
    path("kinds/publish", http.publish),
    path("kinds/members", http.members),
    path("kinds/places", http.places),
]

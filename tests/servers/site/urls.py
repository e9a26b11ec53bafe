"""All URLs."""

from __future__ import annotations

from django.urls import path
from django.urls.resolvers import RoutePattern, URLResolver

from . import aio, apps, classes, crossing, deciding, modern, wrapped
from .kinds import URLS
from .urls_classic import urlpatterns as classic_patterns

urlpatterns = [
    *classic_patterns,
    path("modern/echo", modern.echo),
    path("modern/script", modern.scripted),
    path("modern/accept", modern.accept_modern),
    path("modern/require", modern.require_modern),
    path("modern/classic", modern.websocket_classic),
    path("modern/called", modern.called),
    path("modern/large", modern.large),
    path("modern/listed", modern.listed),
    path("modern/chosen", modern.chosen),
    path("modern/json", modern.json_echo),
    path("modern/about", modern.about),
    path("modern/session", modern.session),
    path("aio/script", aio.scripted),
    path("aio/modern/script", aio.modern),
    path("aio/echo", aio.echo),
    path("aio/query", aio.query),
    path("aio/threads", aio.threads),
    path("aio/raises", aio.raises),
    path("aio/cancelled", aio.cancelled),
    path("aio/left", aio.left),
    path("aio/remains", aio.remains),
    path("aio/cancels", aio.cancels),
    path("aio/stubborn", aio.stubborn),
    path("classes/echo", classes.Echo.as_view()),
    path("classes/async-echo", classes.AsyncEcho.as_view()),
    path("classes/query", classes.Query.as_view()),
    path("classes/whole/<room>", classes.Whole.as_view()),
    path("classes/async-whole/<room>", classes.AsyncWhole.as_view()),
    path("classes/slow", classes.Slow.as_view()),
    path("classes/typed", classes.Typed.as_view()),
    *apps.urlpatterns,
    *crossing.urlpatterns,
    path("deciding/sync", deciding.sync),
    path("deciding/sync/backends", deciding.backends),
    path("deciding/task/backends", deciding.task_backends),
    path("deciding/task", deciding.task),
    path("deciding/count", deciding.count),
    path("deciding/sync/dwells", deciding.dwells),
    path("deciding/task/dwells", deciding.task_dwells),
    *URLS,
    *(path(f"wrapped/{name}", view) for name, view in wrapped.VIEWS.items()),
    # Unlike include(), this imports the module only when the path is asked for.
    URLResolver(RoutePattern("wrapped/rest-"), "tests.servers.site.urls_rest"),
]

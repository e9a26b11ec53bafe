"""What holds during a request and has to hold in the view's own thread too.

Context variables are copied. Django's language, time zone, URLconf and script prefix
are not among them for a synchronous thread, whatever they are made of inside.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from datetime import tzinfo
from typing import Any

from django.conf import settings as django_settings
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation

from . import databases

__all__ = ("RequestContext",)


class RequestContext:
    """A snapshot of the calling thread's state."""

    __slots__ = (
        "_context",
        "_databases",
        "_language",
        "_prefix",
        "_urlconf",
        "_zone",
    )

    def __init__(self) -> None:
        self._context = copy_context()
        self._language = translation.get_language()
        zone = timezone.get_current_timezone()
        # The defaults need not be set, and cost memory in every thread if they are.
        self._zone: tzinfo | None = (
            zone if zone is not timezone.get_default_timezone() else None
        )
        self._urlconf = get_urlconf()
        self._prefix = get_script_prefix()
        self._databases = databases.shared()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function with that state, in another thread."""
        return self._context.run(self._run, function, args)

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self._language is None:
            translation.deactivate_all()
        elif self._language != django_settings.LANGUAGE_CODE:
            translation.activate(self._language)
        if self._zone is not None:
            timezone.activate(self._zone)
        if self._urlconf not in (None, django_settings.ROOT_URLCONF):
            set_urlconf(self._urlconf)
        if self._prefix != "/":
            set_script_prefix(self._prefix)
        databases.share(self._databases)
        return function(*args)

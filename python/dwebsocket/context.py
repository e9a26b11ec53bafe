"""Carries the state of a request's thread over to the thread of the view.

Context variables are copied. Django's language, time zone, URLconf and script prefix do
not reach a synchronous thread with that copy, so they are set again. A project's
hooks carry over the state that it keeps in its own thread-locals.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, ContextVar, copy_context
from datetime import tzinfo
from typing import Any, TypeVar

from asgiref import local
from asgiref.local import Local
from asgiref.sync import AsyncToSync
from django.conf import settings as django_settings
from django.urls import (
    clear_script_prefix,
    get_script_prefix,
    get_urlconf,
    set_script_prefix,
    set_urlconf,
)
from django.utils import timezone, translation
from django.utils.module_loading import import_string

from .conf import settings
from .exceptions import ConfigurationError
from .process import databases

__all__ = (
    "EXECUTORS",
    "RequestContext",
    "again",
    "applied",
    "carried",
    "carry",
    "own",
    "snapshot",
)

# Private, and only in newer versions; stubs do not have them.
_Storage: Any = getattr(local, "_Storage", None)
_rehome: Any = getattr(local, "_rehome", None)

Hook = TypeVar("Hook", bound=Callable[[Any], Any])

_hooks: list[Callable[[Any], Any]] = []


def carry(hook: Hook) -> Hook:
    """Register a hook that carries state over to the view's thread; also a decorator.

    The hook is called with the request, in the thread of the request. Its result is
    applied in the thread of the view: a context manager is entered for as long as the
    view runs, a function is called before the view begins, None does nothing. The
    setting ``CONTEXT_HOOKS`` may also name hooks.
    """
    if hook not in _hooks:
        _hooks.append(hook)
    return hook


def carried(request: Any) -> list[Any]:
    """Call the project's hooks; return what to apply in the view's thread.

    Raises:
        ConfigurationError: A hook returned neither a context manager nor a function
            nor None.
    """
    found = []
    for hook in (*map(import_string, settings.CONTEXT_HOOKS), *_hooks):
        thing = hook(request)
        if thing is None:
            continue
        if not (hasattr(thing, "__enter__") or callable(thing)):
            raise ConfigurationError(
                f"The context hook {hook!r} must return a context manager, a function "
                f"or None, not {type(thing).__name__}."
            )
        found.append(thing)
    return found


@contextlib.contextmanager
def applied(things: Sequence[Any]) -> Iterator[None]:
    """Apply the result of :func:`carried`, in the view's thread."""
    with contextlib.ExitStack() as stack:
        for thing in things:
            if hasattr(thing, "__enter__"):
                stack.enter_context(thing)
            else:
                thing()
        yield


def again(things: Sequence[Any]) -> list[Any]:
    """Return copies of ``things`` that another thread can apply at the same time.

    Call this before ``things`` are applied: a context manager made by
    ``@contextmanager`` can be entered only once.
    """
    found = []
    for thing in things:
        if hasattr(thing, "__enter__"):
            recreate = getattr(thing, "_recreate_cm", None)
            fresh = thing if recreate is None else recreate()
            if fresh is thing:
                # The state that it keeps between entry and exit is for one thread.
                with contextlib.suppress(TypeError):
                    fresh = copy.copy(thing)
            thing = fresh
        found.append(thing)
    return found


def _outlives_context() -> bool:
    """Return whether a value that is set in a context stays in its thread afterwards.

    Django keeps language, time zone, URLconf and script prefix in ``Local`` objects:
    since asgiref 3.7 these live in the context, before that in the thread.
    """
    found = Local()
    Context().run(setattr, found, "value", True)
    return hasattr(found, "value")


_OUTLIVES = _outlives_context()


def _is_shared() -> bool:
    """Return whether copies of a context share the values of their local state.

    asgiref 3.8 changes these in place: a view would get the language of whatever the
    server's thread does next.
    """
    found, context = Local(), Context()
    context.run(setattr, found, "value", True)
    context.copy().run(setattr, found, "value", False)
    return not (_OUTLIVES or context.run(getattr, found, "value"))


_SHARED = _is_shared()


def own(variable: ContextVar[Any], value: Any) -> Any:
    """Return what a variable of another context is to be in one of this thread."""
    if _rehome is not None and isinstance(value, _Storage):
        return _rehome(value)
    if _SHARED and variable.name == "asgiref.local" and isinstance(value, dict):
        return dict(value)
    return value


def snapshot() -> Context:
    """Return a copy of the current context, with local state of its own."""
    context = copy_context()
    if _SHARED:
        for variable, value in copy_context().items():
            context.run(variable.set, own(variable, value))
    return context


def _forget_executor() -> None:
    """Have no thread wait for the synchronous calls of this context.

    A thread in ``async_to_sync()`` waits for them, and asgiref notes it in a variable.
    """
    AsyncToSync.executors.current = None


def _executors() -> tuple[ContextVar[Any], ...]:
    """Return that variable; old versions of asgiref note it in the thread."""
    found = Context()
    if not _OUTLIVES:
        found.run(_forget_executor)
    return tuple(found)


#: What belongs to a thread and its calls, although it is in context variables.
EXECUTORS = _executors()


def move() -> None:
    """Have Django's local state of the current context hold in the calling thread.

    Newer versions of asgiref note in a context which thread has set the state, and
    ignore it in others. This is what they do themselves when they change threads.
    """
    if _rehome is None:
        return
    me = threading.get_ident()
    for variable, value in copy_context().items():
        if isinstance(value, _Storage) and value.thread_id != me:
            variable.set(_rehome(value))


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
        self._context = snapshot()
        if any(variable in self._context for variable in EXECUTORS):
            # The request comes through async_to_sync(), which does not wait for views.
            self._context.run(_forget_executor)
        self._language = translation.get_language()
        zone = timezone.get_current_timezone()
        # A thread has the defaults anyway; setting them would only cost memory.
        self._zone: tzinfo | None = (
            zone if zone is not timezone.get_default_timezone() else None
        )
        self._urlconf = get_urlconf()
        self._prefix = get_script_prefix()
        self._databases = databases.shared()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function with this state, in another thread."""
        return self._context.run(self._run, function, args)

    @property
    def variables(self) -> Context:
        """The copied context variables."""
        return self._context

    @property
    def databases(self) -> dict[str, Any]:
        """The database connections that other threads may use as well."""
        return self._databases

    def is_of_thread(self) -> bool:
        """Return whether a part of the state belongs to a thread, not to the context.

        Then :meth:`run` must be used for each call, and :attr:`variables` are not all.
        """
        return _OUTLIVES or bool(self._databases)

    def take_on(self) -> None:
        """Set language, time zone, URLconf and script prefix in this context."""
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

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self.take_on()
        databases.share(self._databases)
        try:
            return function(*args)
        finally:
            # The thread may serve another request next.
            if _OUTLIVES:
                _reset()


def _reset() -> None:
    translation.deactivate()
    timezone.deactivate()
    set_urlconf(None)
    clear_script_prefix()

"""The view that runs an application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import HttpRequest, HttpResponse

from dwebsocket import conf, wsgi
from dwebsocket.asgi.protocol import AnyApplication, ASGIApplication
from dwebsocket.conf.keys import SECONDS, optional, positive
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.handshake import plain, refusal
from dwebsocket.handshake.opening import Accepted, Opening
from dwebsocket.handshake.request import asks
from dwebsocket.runners import headers
from dwebsocket.runners.acall import AsyncCall
from dwebsocket.websocket import unopened
from dwebsocket.websocket.aio import AsyncWebSocket
from dwebsocket.wsgi.handoff import HandoffResponse

from . import answer as answers
from .naming import named
from .scope import scope_of
from .talk import Answer, Talk

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dwebsocket.conf.view_options import ViewOptions

__all__ = ("as_view",)


class _Opening(Opening):
    """Decides on a handshake, but for the subprotocol."""

    def choose(self, request: HttpRequest, offered: list[str]) -> None:
        """Leave the choice to the application."""


class _Call(AsyncCall):
    """The call of a view that waits for an application."""

    __slots__ = ()

    async def arun(self, websocket: AsyncWebSocket[Any]) -> None:
        """Let the application go on, and close the WebSocket when it has ended."""
        try:
            await super().arun(websocket)
        finally:
            # It waits for the opening, if the call has failed before that.
            self.abandon()

    def abandon(self) -> None:
        """Tell the application that its WebSocket will not be opened."""
        talk: Any = self.view
        talk.abandon()


class _Mounted(NamedTuple):
    """An application, and the arguments of :func:`as_view`."""

    app: ASGIApplication
    name: Any
    opening: Opening
    mount: str | None
    end_timeout: float | None
    lifespan: bool

    def respond(self, request: HttpRequest, factory: Any, kwargs: Any) -> HttpResponse:
        """Return the response to a handshake: it opens the WebSocket, or refuses it."""
        decided = self.opening.decide(request, factory)
        if not isinstance(decided, Accepted):
            return decided
        talk = Talk(self.app, self.name, self.end_timeout, self.lifespan)
        response = wsgi.hand_over(decided, _Call(talk, request, (request,), {}))
        if not isinstance(response, HandoffResponse):
            return response
        handoff = response.handoff
        limit = decided.profile.accept_timeout
        try:
            offered = decided.handshake.protocols
            scope = scope_of(request, list(offered), kwargs, self.mount)
            answer = talk.ask(scope, handoff, limit)
        except BaseException:
            handoff.drop()
            raise
        if isinstance(answer, answers.Accepted):
            refused = wsgi.too_late(handoff)
            if refused is not None:
                return refused
            handoff.accepted = decided._replace(subprotocol=answer.subprotocol)
            headers.add(response, answer.headers)
            return response
        handoff.drop()
        return self._refuse(request, answer, limit)

    def _refuse(
        self, request: HttpRequest, answer: Answer | None, limit: float
    ) -> HttpResponse:
        """Return the response to a handshake that the application has not accepted.

        Raises:
            Exception: The application has raised it.
        """
        if isinstance(answer, answers.Refused):
            refusal.note(request, answer.response, answer.reason)
            return answer.response
        if answer is None:
            return refusal.refuse(
                request,
                503,
                "The ASGI application has neither accepted nor refused this WebSocket "
                f"within {limit:g} seconds (ACCEPT_TIMEOUT).",
                refusal.LATER,
            )
        error = getattr(answer, "error", None)
        if isinstance(error, asyncio.CancelledError):
            return refusal.refuse(
                request, 503, "The ASGI application was cancelled.", refusal.LATER
            )
        if error is not None:
            raise error if isinstance(error, Exception) else _failure(error)
        return refusal.refuse(
            request,
            500,
            "The ASGI application has ended, and has neither accepted nor refused this "
            "WebSocket.",
        )


def _failure(error: BaseException) -> RuntimeError:
    """Return an exception for what would end the server's thread."""
    failure = RuntimeError(f"The ASGI application has raised {error!r}.")
    failure.__cause__ = error
    return failure


def as_view(
    app: AnyApplication,
    *,
    mount: str | None = None,
    end_timeout: float | None = 10.0,
    lifespan: bool = True,
    **overrides: Unpack[ViewOptions],
) -> Callable[..., HttpResponse]:
    """Return a view that runs an ASGI application for WebSockets, on every server.

    The application decides on the handshake, and gets the WebSocket's messages.
    Django's middleware, the Origin check and all limits apply as to other views.

    Args:
        app: The application, such as ``ChatConsumer.as_asgi()``.
        mount: The name of the URL's argument that has the application's own part of the
            path. None: the application gets the path of the whole site.
        end_timeout: Seconds that the application may take to end after its client has
            gone; then it is cancelled. None: no limit.
        lifespan: Whether the application hears of the beginning and the end of the
            process (the scope ``lifespan``).
        overrides: Settings of ``DWEBSOCKET`` for this view, in lowercase.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    options: dict[str, Any] = {**overrides}
    _check(app, end_timeout, options)
    opening = _Opening("modern", None, conf.check_overrides(options))
    mounted = _Mounted(app, named(app), opening, mount, end_timeout, lifespan)

    def no_answer(*args: Any, **kwargs: Any) -> None:
        """Have the answer to plain HTTP be 426."""

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if unopened.is_open(getattr(request, "websocket", None)):
            raise ConfigurationError(
                "A middleware has opened this WebSocket already, and the application "
                "of as_view() opens it itself."
            )
        factory = asks(request)
        if factory is None:
            found: HttpResponse = plain.answer(request, no_answer, args, kwargs, False)
            return found
        return mounted.respond(request, factory, kwargs)

    for function in (view, no_answer):
        function.__module__ = mounted.name.__module__
        function.__qualname__ = mounted.name.__qualname__
        function.__name__ = mounted.name.__name__
    view.__doc__ = mounted.name.__doc__
    # The middleware looks for these.
    view.opens_websocket = True  # type: ignore[attr-defined]
    view.accept_websocket = True  # type: ignore[attr-defined]
    view.require_websocket = False  # type: ignore[attr-defined]
    return view


def _check(app: Any, end_timeout: Any, overrides: dict[str, Any]) -> None:
    """Check the arguments of :func:`as_view`.

    Raises:
        ConfigurationError: One is wrong.
    """
    if isinstance(app, type) and hasattr(app, "as_asgi"):
        raise ConfigurationError(
            f"{app.__qualname__} is a class of consumers: write "
            f"as_view({app.__name__}.as_asgi())."
        )
    if not callable(app):
        raise ConfigurationError(f"as_view() takes an ASGI application, not {app!r}.")
    if not optional(positive)(end_timeout):
        raise ConfigurationError(
            f"end_timeout: None or {SECONDS}, not {end_timeout!r}."
        )
    if "dialect" in overrides:
        raise ConfigurationError("An ASGI application has no dialect.")

"""The base class of views whose methods handle what happens on a WebSocket."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import classonlymethod
from django.views import View

from dwebsocket import _engine, conf, hub
from dwebsocket.conf.view_options import ViewAttributes
from dwebsocket.decorators import respond
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.handshake import plain
from dwebsocket.handshake.opening import SESSION_PROTOCOL, Opening
from dwebsocket.handshake.request import asks
from dwebsocket.runners import Call
from dwebsocket.runners.handlers import HandlerCall
from dwebsocket.websocket import WebSocket, endpoint, membership, unopened

from . import typed

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    from dwebsocket.websocket.base import BaseWebSocket

    Socket = TypeVarWithDefault(
        "Socket", bound=BaseWebSocket[Any], default=WebSocket[str | bytes]
    )

    class _View(ViewAttributes, View):
        """Django's base class, with the attributes that a subclass may set."""
else:
    Socket = TypeVar("Socket")
    _View = View

__all__ = ("WebSocketView",)

#: The attributes that are settings of the view.
_SETTINGS = tuple(ViewAttributes.__annotations__)

_EVENTS = ("on_open", "on_message", "on_close")


class WebSocketView(_View, Generic[Socket]):
    """A view whose methods are called when something happens on a WebSocket.

    ``as_view()`` returns the view for ``urls.py``. Each connection has an instance of
    its own, with ``request``, ``args`` and ``kwargs`` as in Django's views, and with
    ``websocket``. The methods of one connection are called one after the other, in
    the order of the messages. While nothing arrives, a connection has neither a thread
    nor a task.

    An attribute with the lowercase name of a setting overrides that setting, like an
    argument of the decorators: ``max_message_size = 65_536``. The dialect is "modern".

    Methods for plain HTTP (``get`` and so on) work as in Django's views. Without any,
    plain HTTP gets the status 426.
    """

    #: The subprotocols that the view speaks, the best one first; or a method that gets
    #: the request and the client's list, and returns an item of the list or None.
    subprotocols: Sequence[str] | Callable[..., str | None] | None = None
    #: Groups that each connection joins before ``on_open``. The view's keyword
    #: arguments fill names such as ``"room.{room}"``.
    groups: Sequence[str] = ()

    #: The connection; set before ``on_open``.
    websocket: Socket

    #: The decision on handshakes for this class; made by ``as_view()``.
    _ws_opening: ClassVar[Opening | None] = None
    #: The methods with ``@on``; made by ``as_view()``.
    _ws_table: ClassVar[typed.Table | None] = None
    #: Takes note of an exception of a method with ``@on``.
    _ws_report: typed.Report

    # Django would await the view if its get() were a coroutine function.
    view_is_async = False

    def on_open(self) -> Any:
        """Handle the opening: the client has its answer, and messages may be sent."""

    def on_message(self, message: Any, /) -> Any:
        """Handle a message.

        By default, the method with the message's type is called (see :func:`on`). A
        class that overrides this may do so for some messages:
        ``super().on_message(message)``. If a handler of the class is a coroutine
        function, ``on_message()`` must be one, and await that.

        Args:
            message: ``str``, or ``bytes`` if the message is binary (classic dialect:
                ``bytes`` in any case).
        """
        if is_asynchronous(type(self)):
            return self._ws_answer(message)
        if self._ws_table is not None:
            reply = self._ws_table.call(self, message, self._ws_report)
            self._ws_send(reply)

    async def _ws_answer(self, message: Any) -> None:
        """Do what ``on_message()`` does by default, in the event loop."""
        if self._ws_table is not None:
            reply = await self._ws_table.acall(self, message, self._ws_report)
            sent = self._ws_send(reply)
            if sent is not None:
                await sent

    def _ws_send(self, reply: str | None) -> Any:
        """Send a reply, if there is one; return what ``send()`` returns."""
        websocket: Any = self.websocket  # its type depends on the kind of class
        return None if reply is None else websocket.send(reply, False)

    def on_close(self, code: int, /) -> Any:
        """Handle the end: the connection is closed. Called once, after ``on_open``.

        Args:
            code: The close code (RFC 6455 section 7.4).
        """

    def _ws_groups(self) -> list[str]:
        """Return the names of the groups that the connection joins at the opening.

        Raises:
            ConfigurationError: A name in ``groups`` asks for a keyword argument that
                the view does not get, or is no name.
            Http404: The keyword arguments, which the visitor has chosen, make a name
                that no group can have, or one that stands for many groups.
        """
        names = self.groups
        _check_list(type(self), names)
        return [self._ws_group(name) for name in names]

    def _ws_group(self, template: str) -> str:
        """Fill the names in the name of a group."""
        try:
            name = template.format_map(self.kwargs)
        except KeyError as error:
            raise ConfigurationError(
                f"'groups' of {type(self).__qualname__} needs the keyword argument "
                f"{error} of the URL pattern."
            ) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"'groups' of {type(self).__qualname__} has {template!r}, which the "
                f"keyword arguments of the URL pattern do not fill: {error}."
            ) from error
        try:
            # The project may name a wildcard, but not the visitor.
            _engine.check_group(name, template.endswith("*"))
        except ValueError as error:
            if name == template:
                raise _no_name(type(self), name, error) from error
            raise Http404(str(error)) from error
        return name

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """Return the view.

        Args:
            initkwargs: Settings and other attributes, which override those of the
                class. A function for ``subprotocols`` gets the request and the client's
                list.

        Raises:
            ConfigurationError: An attribute is wrong.
        """
        given = {key: initkwargs.pop(key) for key in _SETTINGS if key in initkwargs}
        name = "subprotocols"
        if name in initkwargs:
            spoken = initkwargs.pop(name)
            # A function gets the request and the list, and no self.
            given[name] = staticmethod(spoken) if callable(spoken) else spoken
        if given:
            # Settings belong to the class.
            qualified = {"__qualname__": cls.__qualname__, "__module__": cls.__module__}
            kind: Any = type(cls)
            cls = kind(cls.__name__, (cls,), given | qualified)
        _check_groups(cls, initkwargs.get("groups", cls.groups))
        cls._ws_opening = _opening(cls)
        view: Any = super().as_view(**initkwargs)
        view.opens_websocket = True
        view.accept_websocket = True
        view.require_websocket = False
        found: Callable[..., HttpResponseBase] = view
        return found

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Answer a request: open the WebSocket, or answer plain HTTP.

        Override this method to refuse handshakes by a response, as Django's mixins do.
        """
        factory = asks(request)
        given = getattr(request, "websocket", None)
        if given is not None and unopened.is_open(given):
            raise ConfigurationError(
                f"A middleware has opened this WebSocket, and {type(self).__qualname__}"
                " is a class with handlers, which opens its WebSockets itself."
            )
        if factory is None:
            answer: HttpResponseBase = self._ws_plain(request, args, kwargs)
            return answer
        self._ws_groups()  # an error is still the response to the handshake
        opening = self._ws_opening or _opening(type(self))
        if callable(self.subprotocols):
            opening = opening.speaking(self.subprotocols)
        return respond(opening, factory, self._ws_call((request, *args), kwargs))

    def _ws_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        if not is_asynchronous(type(self)):
            return HandlerCall(self, self.request, args, kwargs)
        # Imported late: most sites have no such class.
        from dwebsocket.runners.ahandlers import AsyncHandlerCall

        return AsyncHandlerCall(self, self.request, args, kwargs)

    def _ws_plain(self, request: HttpRequest, args: Any, kwargs: Any) -> Any:
        def answering(*args: Any, **kwargs: Any) -> Any:
            return self._ws_http(*args, **kwargs)

        cls = type(self)
        answering.__module__, answering.__qualname__ = cls.__module__, cls.__qualname__
        return plain.answer(request, answering, (request, *args), kwargs, False)

    def _ws_http(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer plain HTTP; None if the class has no method for it."""
        names = set(self.http_method_names) - {"options"}
        if not any(hasattr(self, name) for name in names):
            return None
        response: Any = super().dispatch(request, *args, **kwargs)
        if not inspect.isawaitable(response):
            return response

        async def wait() -> Any:
            return await response

        return async_to_sync(wait)()

    def _ws_handler(self) -> Callable[[Any], Any]:
        """Return what gets each message: a coroutine function where one is needed."""
        default = type(self).on_message is WebSocketView.on_message
        return (
            self._ws_answer
            if default and is_asynchronous(type(self))
            else self.on_message
        )

    def _ws_ended(self) -> None:
        """Let go of what would keep this object alive; called after ``on_close``."""
        self.__dict__.pop("_ws_report", None)

    def _ws_opened(self, websocket: Any, report: typed.Report) -> None:
        """Note the connection; called before ``on_open``.

        Args:
            websocket: The connection.
            report: Takes note of exceptions after which the connection stays.
        """
        self.websocket = websocket
        if self._ws_table is None:
            return
        self._ws_report = report
        offered = self.request.META.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "")
        if SESSION_PROTOCOL in (name.strip() for name in offered.split(",")):
            # dwebsocket.js waits for this, whichever subprotocol the class has chosen,
            # and expects messages of groups in JSON.
            websocket.send(hub.to_json(membership.welcome(endpoint.of(websocket))))


def _check_groups(cls: type[WebSocketView[Any]], groups: Any) -> None:
    """Make sure that ``groups`` is a list of names; a property may return one later.

    Raises:
        ConfigurationError: It is something else.
    """
    if hasattr(groups, "__get__") and not callable(groups):
        return
    _check_list(cls, groups)
    for name in groups:
        if "{" not in name:
            try:
                _engine.check_group(name, True)
            except ValueError as error:
                raise _no_name(cls, name, error) from error


def _check_list(cls: type[WebSocketView[Any]], groups: Any) -> None:
    """Make sure that groups are a list of strings.

    Raises:
        ConfigurationError: They are not.
    """
    wrong = isinstance(groups, str | bytes) or not isinstance(groups, Collection)
    if wrong or not all(isinstance(name, str) for name in groups):
        raise ConfigurationError(
            f"'groups' of {cls.__qualname__} must be a list of names, not {groups!r}."
        )


def _no_name(
    cls: type[WebSocketView[Any]], name: str, error: ValueError
) -> ConfigurationError:
    return ConfigurationError(
        f"'groups' of {cls.__qualname__} has {name!r:.100}, which no group can have: "
        f"{error}."
    )


def _opening(cls: type[WebSocketView[Any]]) -> Opening:
    """Return what decides on the handshakes of a class.

    Raises:
        ConfigurationError: An attribute is wrong.
    """
    given = {key: getattr(cls, key) for key in _SETTINGS if hasattr(cls, key)}
    for name in _EVENTS:
        typed.check_call(cls, name)
    cls._ws_table = typed.Table(cls) if typed.kinds(cls) else None
    if given.get("cancel_on_disconnect") and not is_asynchronous(cls):
        raise ConfigurationError(
            f"The handlers of {cls.__qualname__} are synchronous, and a thread cannot "
            "be cancelled: cancel_on_disconnect is for coroutine functions."
        )
    if (
        cls._ws_table is not None
        and cls.on_message is not WebSocketView.on_message
        and not iscoroutinefunction(cls.on_message)
        and is_asynchronous(cls)
    ):
        # Whatever it leaves to the methods would be a coroutine that nobody awaits.
        raise ConfigurationError(
            f"A handler of {cls.__qualname__} is a coroutine function, so its "
            "on_message() must be one, too: write 'async def on_message', and 'await "
            "super().on_message(message)'."
        )
    spoken: Any = cls.subprotocols
    opening = Opening("modern", spoken, conf.check_overrides(given))
    # A method is one of an instance.
    return opening.speaking(None) if callable(spoken) else opening


def is_asynchronous(cls: type[WebSocketView[Any]]) -> bool:
    """Return whether a handler of the class is a coroutine function."""
    table = cls._ws_table
    return any(iscoroutinefunction(getattr(cls, name)) for name in _EVENTS) or (
        table is not None and table.is_asynchronous()
    )

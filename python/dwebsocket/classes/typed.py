"""Typed messages: methods that get the fields of JSON messages.

A message is an object with a ``type``, which chooses the method, and an optional
``id``, under which the client gets the reply. msgspec checks the other fields against
the annotations of the method.
"""

from __future__ import annotations

import enum
import functools
import inspect
import json
import operator
from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.http import Http404
from django.views import View

from dwebsocket.exceptions import ConfigurationError, WebSocketClosed

from .fields import fields

__all__ = ("Report", "Table", "check_call", "kinds", "on")

Method = TypeVar("Method", bound=Callable[..., Any])

#: The type of a message that is answered without a method.
_PING = "ping"

#: Takes note of an exception that is being handled.
Report = Callable[[BaseException], Any]

#: The attribute of a method that has its types of messages.
_MARK = "_dwebsocket_kinds"

#: The most mistakes of a model that are described: a description is larger than what
#: it describes.
_MOST_REASONS = 10
#: The most characters of an error's text, which may quote the client's message.
_MOST_TEXT = 1000

#: Attributes of each object of a class with handlers, beside those of Django's views.
_TAKEN = (
    "args",
    "groups",
    "kwargs",
    "on_close",
    "on_message",
    "on_open",
    "request",
    "subprotocols",
    "websocket",
)

_MISSING = (
    "Typed messages need msgspec: pip install 'dwebsocket-rs[messages]' ({} has "
    "methods with @on)."
)

_UNAWAITED = (
    "A method with @on has returned the coroutine {}(), which nobody awaits. Write "
    "'async def', and 'await' where that one is called. If it is 'async def', a "
    "synchronous decorator hides that: mark its wrapper with "
    "asgiref.sync.markcoroutinefunction()."
)


def on(kind: str) -> Callable[[Method], Method]:
    """Have a method of a :class:`.WebSocketView` get the messages of a type.

    The message is a JSON object with this ``type``. Its other fields are the method's
    arguments, checked against the annotations; an argument with a default may be
    missing. What the method returns is the reply to the message's ``id``. A message
    that does not fit is answered with an error, and the connection stays.

    Args:
        kind: The type, such as ``"chat.send"``.

    Raises:
        ConfigurationError: The type is not a name, or is that of pings.
    """
    if not isinstance(kind, str) or not kind:
        raise ConfigurationError(f"@on() takes the type of a message, not {kind!r}.")
    if kind == _PING:
        raise ConfigurationError(
            f"@on({kind!r}) would take the pings of dwebsocket.js, which asks so "
            "whether the server is there: choose another type."
        )
    # A member of an enumeration is no tag for msgspec.
    kind = str.__str__(kind)

    def mark(method: Method) -> Method:
        found = [*getattr(method, _MARK, ()), kind]
        setattr(method, _MARK, found)
        return method

    return mark


def kinds(cls: type[Any]) -> dict[str, str]:
    """Return the names of the methods of a class, by the types of their messages.

    A method that overrides another one gets the messages of that one; None in place of
    a method switches it off.

    Raises:
        ConfigurationError: Two methods have the same type, or one is none that can be
            called with fields.
    """
    methods: dict[str, list[str]] = {}
    for base in cls.__mro__:
        for name, method in vars(base).items():
            inner = getattr(method, "__func__", None)
            marked = getattr(method, _MARK, None) or getattr(inner, _MARK, None)
            if marked and name not in methods:
                _check_method(cls, name, method)
                methods[name] = marked
    found: dict[str, str] = {}
    for name, types in methods.items():
        if getattr(cls, name) is None:
            continue
        for kind in types:
            if kind in found:
                raise ConfigurationError(
                    f"{cls.__qualname__} has two methods for messages of the type "
                    f"{kind!r}: {found[kind]}() and {name}()."
                )
            found[kind] = name
    return found


def _check_method(cls: type[Any], name: str, method: Any) -> None:
    """Make sure that a method with ``@on`` can be called with the fields of messages.

    Raises:
        ConfigurationError: It cannot.
    """
    where = f"{cls.__qualname__}.{name}()"
    if isinstance(method, (classmethod, staticmethod)):
        raise ConfigurationError(
            f"{where} has @on(), and cannot be a {type(method).__name__}: a message "
            "belongs to a connection."
        )
    # Plain HTTP would call get(), say.
    if name in _TAKEN or hasattr(View, name) or name in View.http_method_names:
        raise ConfigurationError(
            f"{where} has @on(), and a view has another use for this name: choose "
            "another one for the method."
        )


def check_call(cls: type[Any], name: str) -> None:
    """Make sure that a call of a handler runs it.

    Raises:
        ConfigurationError: It is a generator function, of which a call runs nothing; or
            nothing that can be called.
    """
    method = getattr(cls, name)
    if not callable(method):
        raise ConfigurationError(f"{cls.__qualname__}.{name} is no method: {method!r}.")
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise ConfigurationError(
            f"{cls.__qualname__}.{name}() has a yield, so a call would not run it. A "
            "handler sends with self.websocket.send()."
        )


class Refused(Exception):
    """A message that gets an error for its reply.

    Args:
        code: The reason, for programs.
        message: The reason, for people.
        number: The message's id.
    """

    def __init__(self, code: str, message: str, number: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.number = code, message, number


class Ping(Refused):
    """A question of dwebsocket.js whether the server is there."""


class Table:
    """The methods of a class, and what their messages look like.

    Args:
        cls: The class.

    Raises:
        ConfigurationError: A method cannot get the fields of a message, or msgspec is
            missing.
    """

    def __init__(self, cls: type[Any]) -> None:
        try:
            import msgspec
        except ImportError as error:
            raise ConfigurationError(_MISSING.format(cls.__qualname__)) from error
        self._msgspec: Any = msgspec
        # The errors of msgspec before 0.21 are no ValueErrors.
        self._unreadable = (ValueError, RecursionError, msgspec.MsgspecError)
        self._names = kinds(cls)
        for name in self._names.values():
            check_call(cls, name)
        self._asynchronous = {
            name
            for name in self._names.values()
            if iscoroutinefunction(getattr(cls, name))
        }
        structs = [self._struct(cls, kind) for kind in self._names]
        union: Any = functools.reduce(operator.or_, structs)
        head: Any = msgspec.defstruct("Head", [("type", str), ("id", Any, None)])
        other = functools.partial(_decode_other, msgspec.json.encode)
        self._decode = msgspec.json.Decoder(union, dec_hook=other).decode
        self._decode_head = msgspec.json.Decoder(head).decode
        self._encode = msgspec.json.Encoder(enc_hook=_encode_other).encode

    def _struct(self, cls: type[Any], kind: str) -> Any:
        """Return the class of the messages of a type."""
        msgspec = self._msgspec
        name = self._names[kind]
        given = [
            (field, annotation if required else annotation | msgspec.UnsetType)
            + (() if required else (msgspec.UNSET,))
            for field, annotation, required in fields(cls, name)
        ]
        number = ("id", int | str | None, None)
        return msgspec.defstruct(
            name, [*given, number], tag_field="type", tag=kind, kw_only=True
        )

    def is_asynchronous(self) -> bool:
        """Return whether a method is a coroutine function."""
        return bool(self._asynchronous)

    def _open(self, message: str | bytes) -> tuple[str, dict[str, Any], Any]:
        """Return the name of a message's method, its arguments and the message's id.

        Raises:
            Refused: The message does not fit.
        """
        try:
            found = self._decode(message)
        except self._unreadable as error:
            raise self._refusal(message, error) from None
        unset = self._msgspec.UNSET
        values = {
            field: value
            for field in found.__struct_fields__
            if (value := getattr(found, field)) is not unset
        }
        number = values.pop("id")
        if isinstance(number, str) and len(number) > 64:
            raise Refused("invalid", "the id has more than 64 characters")
        return type(found).__name__, values, number

    def _head(self, message: str | bytes) -> tuple[str | None, Any]:
        """Return the type and the id of a message that no method has got.

        The type is None where the message has none that can be read.
        """
        try:
            head = self._decode_head(message)
            return head.type, _id(head.id)
        except self._unreadable:
            pass
        try:
            # It also reads half a surrogate pair, which browsers send as "\\ud83d".
            found = json.loads(message)
        except (ValueError, RecursionError):
            return None, None
        return None, _id(found.get("id")) if isinstance(found, dict) else None

    def _refusal(self, message: str | bytes, error: Exception) -> Refused:
        kind, number = self._head(message)
        if kind is None:
            if isinstance(error, RecursionError):
                return Refused("invalid", "the message is nested too deep", number)
            return Refused("invalid", str(error), number)
        if kind not in self._names:
            if kind == _PING:
                return Ping("", "")
            return Refused("unknown", "there is no such type of message", number)
        return Refused("invalid", str(error) or "nested too deep", number)

    def call(self, view: Any, message: str | bytes, report: Report) -> str | None:
        """Call the method of a message; return the reply.

        Args:
            view: The object with the methods.
            message: The message.
            report: Takes note of the exceptions of methods.
        """
        try:
            name, values, number = self._open(message)
        except Refused as refused:
            return self._error(refused)
        except Exception as error:
            _, number = self._head(message)
            return self._error(_failed(error, number, report))
        try:
            return self._reply(number, getattr(view, name)(**values))
        except WebSocketClosed:
            raise
        except Exception as error:
            return self._error(_failed(error, number, report))

    async def acall(self, view: Any, message: Any, report: Report) -> str | None:
        """Do what :meth:`call` does, where some of the methods are coroutines."""
        from asgiref.sync import sync_to_async

        from dwebsocket.runners.calls import in_thread

        try:
            name, values, number = self._open(message)
        except Refused as refused:
            return self._error(refused)
        except Exception as error:
            _, number = self._head(message)
            found = await sync_to_async(_failed)(error, number, report)
            return self._error(found)
        method = getattr(view, name)
        if name not in self._asynchronous:
            method = functools.partial(in_thread, method)
        try:
            return self._reply(number, await method(**values))
        except WebSocketClosed:
            raise
        except Exception as error:
            found = await sync_to_async(_failed)(error, number, report)
            return self._error(found)

    def _reply(self, number: Any, returned: Any) -> str | None:
        if inspect.iscoroutine(returned):
            returned.close()
            raise ConfigurationError(_UNAWAITED.format(returned.__qualname__))
        if number is None:
            return None
        return self._text({"type": "reply", "id": number, "data": returned})

    def _error(self, refused: Refused) -> str:
        if isinstance(refused, Ping):
            return '{"type":"pong"}'
        return self._text(
            {
                "type": "error",
                "id": refused.number,
                "code": refused.code,
                "message": _shortened(refused.message),
            }
        )

    def _text(self, frame: dict[str, Any]) -> str:
        encoded: bytes = self._encode(frame)
        return encoded.decode()


def _shortened(text: str) -> str:
    """Return a text with its end cut off if it is long."""
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"


def _id(number: Any) -> Any:
    """Return the id of a message, or None if a reply cannot have it."""
    if type(number) is int:
        return number if -(2**63) <= number < 2**64 else None
    if not isinstance(number, str) or len(number) > 64:
        return None
    return None if any("\ud800" <= one <= "\udfff" for one in number) else number


def _failed(error: Exception, number: Any, report: Report) -> Refused:
    """Return what to tell the client of an exception: nothing that is secret."""
    if isinstance(error, PermissionDenied):
        return Refused("forbidden", "this is not allowed", number)
    if isinstance(error, Http404):
        return Refused("not_found", "there is no such thing", number)
    if isinstance(error, BadRequest):
        return Refused("invalid", "this is not possible", number)
    if isinstance(error, ValidationError):
        # Made for people who fill in a form.
        return Refused("invalid", " ".join(error.messages), number)
    try:
        raise error
    except Exception as caught:
        report(caught)
    return Refused("failed", "the server has made a mistake; its log says more", number)


def _decode_other(encode: Callable[[Any], bytes], kind: Any, value: Any) -> Any:
    """Make a value of a type that msgspec does not know: a model of pydantic.

    Old versions of msgspec do not know enumerations of Django's, either.

    Args:
        encode: Makes JSON of a value.
        kind: The type.
        value: The value, as msgspec reads it from JSON.

    Raises:
        ValueError: The value does not fit.
        RuntimeError: The model has made a mistake.
    """
    if isinstance(kind, enum.EnumMeta):
        return _member(kind, value)
    try:
        # A strict model takes a date, say, from JSON only.
        return kind.model_validate_json(encode(value))
    except ValueError as error:
        raise ValueError(_reasons(error)) from None
    except TypeError as error:
        # msgspec would tell the client its text.
        raise RuntimeError(f"a value of {kind} could not be made") from error


def _member(kind: Any, value: Any) -> Any:
    """Return the member of an enumeration that has a value.

    Raises:
        ValueError: There is none.
    """
    member = kind(value)
    if type(value) is not type(member.value):
        # To Python, True is 1.
        raise ValueError(f"{value!r} is not a valid {kind.__qualname__}")
    return member


def _reasons(error: Any) -> str:
    """Return the reasons of pydantic's error, without the values."""
    if not hasattr(error, "errors"):
        return str(error)
    count = error.error_count()
    if count > _MOST_REASONS:
        return f"{count} mistakes"
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
        for one in found
    )


def _encode_other(value: Any) -> Any:
    """Return a value that JSON can express, as Django does, for one of pydantic's.

    Raises:
        TypeError: There is none.
    """
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, enum.Enum):
        return value.value
    from django.core.serializers.json import DjangoJSONEncoder

    return DjangoJSONEncoder().default(value)

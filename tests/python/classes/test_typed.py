"""Typed messages of classes."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import logging
import socket
import sys
import threading
import uuid
from typing import Annotated, Any, Generic, Literal, NewType, TypedDict, TypeVar

import msgspec
import pydantic.dataclasses
import pytest
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db import models
from django.http import Http404
from pydantic import BaseModel, field_validator
from typing_extensions import NotRequired

from dwebsocket import ConfigurationError, WebSocketView, on
from dwebsocket.classes import typed

from .helpers import TIMEOUT, received, served


class Address(BaseModel):
    street: str
    number: int


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Desk(WebSocketView):
    @on("echo")
    def echo(self, text: str, times: int = 1, *, loud: bool = False):
        found = text * times
        return found.upper() if loud else found

    @on("add")
    @on("plus")
    def add(self, a: Annotated[int, msgspec.Meta(ge=0)], b: int):
        return a + b

    @on("point")
    def point(self, where: Point, colour: Literal["red", "green"] = "red"):
        assert isinstance(where, Point)
        return Point(where.y, where.x)

    @on("move")
    def move(self, to: Address, when: datetime.date):
        assert isinstance(to, Address)
        assert isinstance(when, datetime.date)
        return to

    @on("any")
    def anything(self, value, optional: list[int] | None = None):
        return [value, optional]

    @on("nothing")
    def nothing(self):
        pass

    @on("fail")
    def fail(self):
        raise ValueError("the password is swordfish")

    @on("forbid")
    def forbid(self):
        raise PermissionDenied("nor this")

    @on("refuse")
    def refuse(self):
        raise ValidationError("say something")

    @on("miss")
    def miss(self):
        raise Http404("no Swordfish matches: swordfish")

    @on("reject")
    def reject(self):
        raise BadRequest("swordfish")


class AsyncDesk(WebSocketView):
    @on("echo")
    async def echo(self, text: str):
        return [text, threading.current_thread().name]

    @on("plain")
    def plain(self, text: str):
        return [text, threading.current_thread().name]

    @on("fail")
    async def fail(self):
        raise ValueError("the password is swordfish")


@pytest.fixture
def ask(site):
    with served(site, Desk).connect() as connection:
        yield asker(connection)


def asker(connection):
    def ask(kind: str, number: Any = 1, **fields: Any) -> dict[str, Any]:
        connection.send(json.dumps({"type": kind, "id": number, **fields}))
        answer: dict[str, Any] = received(connection)
        return answer

    ask.connection = connection  # type: ignore[attr-defined]
    return ask


@pytest.mark.parametrize(
    ("kind", "fields", "data"),
    [
        ("echo", {"text": "x"}, "x"),
        ("echo", {"text": "x", "times": 3, "loud": True}, "XXX"),
        ("add", {"a": 1, "b": 2}, 3),
        ("plus", {"a": 1, "b": 2}, 3),
        ("point", {"where": {"x": 1, "y": 2}}, {"x": 2, "y": 1}),
        (
            "move",
            {"to": {"street": "x", "number": 7}, "when": "2026-01-02"},
            {"street": "x", "number": 7},
        ),
        ("any", {"value": {"deep": [1]}}, [{"deep": [1]}, None]),
        ("any", {"value": 1, "optional": [2], "unknown": 3}, [1, [2]]),
        ("nothing", {}, None),
    ],
)
def test_a_method_gets_the_fields_and_returns_the_reply(ask, kind, fields, data):
    assert ask(kind, **fields) == {"type": "reply", "id": 1, "data": data}


@pytest.mark.parametrize(
    ("kind", "fields", "part"),
    [
        ("echo", {}, "missing required field `text`"),
        ("echo", {"text": 7}, "Expected `str`, got `int` - at `$.text`"),
        ("add", {"a": -1, "b": 2}, "`int` >= 0"),
        ("point", {"where": {"x": "1"}}, "at `$.where.x`"),
        ("point", {"where": {"x": 1}, "colour": "blue"}, "blue"),
        (
            "move",
            {"to": {"street": "x"}, "when": "2026-01-02"},
            "number: Field required",
        ),
        ("move", {"to": {"street": "x", "number": 1}, "when": "soon"}, "at `$.when`"),
    ],
)
def test_what_does_not_fit_gets_the_reason_and_the_connection_stays(
    ask, kind, fields, part
):
    answer = ask(kind, number="n-1", **fields)
    assert (answer["type"], answer["id"], answer["code"]) == ("error", "n-1", "invalid")
    assert part in answer["message"]
    assert ask("nothing")["type"] == "reply"


@pytest.mark.parametrize(
    ("message", "number", "code"),
    [
        ("{", None, "invalid"),
        ("[]", None, "invalid"),
        ('{"id": 5}', 5, "invalid"),
        ('{"type": 7, "id": 5}', 5, "invalid"),
        ('{"type": "unheard", "id": 5}', 5, "unknown"),
        ('{"type": "unheard"}', None, "unknown"),
        ('{"type": "nothing", "id": [5]}', None, "invalid"),
        ('{"type": "nothing", "id": "' + "x" * 65 + '"}', None, "invalid"),
        ('{"type": "any", "id": 5, "value": ' + "[" * 5000 + "]" * 5000 + "}", 5, None),
        (b"\xff\xfe", None, "invalid"),
    ],
)
def test_whatever_comes_is_answered(ask, message, number, code):
    ask.connection.send(message)
    answer = received(ask.connection)
    if code is None and answer["type"] == "reply":
        return  # Python 3.13 reads what is nested so deep
    assert answer["type"] == "error"
    assert answer["id"] in (number, None)
    assert answer["code"] == (code or "invalid")
    assert ask("nothing")["type"] == "reply"


def test_a_message_without_an_id_gets_no_reply(ask):
    ask.connection.send('{"type": "echo", "text": "unanswered"}')
    ask.connection.send('{"type": "echo", "text": "answered", "id": 0}')
    answer = received(ask.connection)
    assert answer == {"type": "reply", "id": 0, "data": "answered"}


def test_an_exception_is_logged_and_the_reply_tells_no_secret(ask, caplog):
    with caplog.at_level(logging.ERROR, "dwebsocket.view"):
        answer = ask("fail")
        assert ask("nothing")["type"] == "reply"
    assert (answer["code"], "swordfish" in json.dumps(answer)) == ("failed", False)
    (record,) = [r for r in caplog.records if r.exc_info]
    assert "swordfish" in record.exc_text
    assert "in fail" in record.exc_text


def test_exceptions_for_visitors_are_answered_and_not_logged(ask, caplog):
    with caplog.at_level(logging.WARNING, "dwebsocket.view"):
        assert ask("forbid")["code"] == "forbidden"
        answer = ask("refuse")
        missing, wrong = ask("miss"), ask("reject")
    assert (answer["code"], answer["message"]) == ("invalid", "say something")
    assert (missing["code"], wrong["code"]) == ("not_found", "invalid")
    assert "swordfish" not in json.dumps([missing, wrong])
    assert not caplog.records


def test_coroutine_functions_and_plain_ones_are_methods(site, caplog):
    with served(site, AsyncDesk).connect() as connection:
        ask = asker(connection)
        assert ask("echo", text="x")["data"] == ["x", "websocket-loop"]
        assert ask("plain", text="x")["data"] == ["x", "websocket-calls"]
        assert ask("echo", text=1)["code"] == "invalid"
        with caplog.at_level(logging.ERROR, "dwebsocket.view"):
            assert ask("fail")["code"] == "failed"
    assert len([r for r in caplog.records if r.exc_info]) == 1


def test_on_message_may_leave_messages_to_the_methods(site):
    class Both(Desk):
        def on_message(self, message):
            if message == "plain":
                self.websocket.send("as it is")
            else:
                super().on_message(message)

    class AsyncBoth(AsyncDesk):
        async def on_message(self, message):
            if message == "plain":
                await self.websocket.send("as it is")
            else:
                await super().on_message(message)

    live = site({"sync": Both.as_view(), "async": AsyncBoth.as_view()})
    for route in ("sync", "async"):
        with live.connect(route) as connection:
            connection.send("plain")
            assert connection.recv(timeout=TIMEOUT) == "as it is"
            assert asker(connection)("echo", text="x")["type"] == "reply"


def test_a_plain_on_message_cannot_leave_messages_to_coroutine_functions():
    class Both(AsyncDesk):
        def on_message(self, message):
            super().on_message(message)

    class Opens(Desk):
        async def on_open(self): ...

        def on_message(self, message):
            super().on_message(message)

    for cls in (Both, Opens):
        with pytest.raises(ConfigurationError, match="await super"):
            cls.as_view()


def test_a_coroutine_that_a_plain_method_returns_is_named(site, caplog):
    class Forgets(WebSocketView):
        @on("join")
        def join(self):
            return self.websocket.join("room")

        @on("other")
        async def other(self): ...

    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, Forgets).connect() as connection,
    ):
        assert asker(connection)("join")["code"] == "failed"
    assert "join(), which nobody awaits. Write 'async def'" in caplog.text


def test_a_method_that_overrides_another_gets_its_messages(site):
    class Child(Desk):
        def echo(self, text: int):  # type: ignore[override]
            return -text

    with served(site, Child).connect() as connection:
        assert asker(connection)("echo", text=5)["data"] == -5


def wrong(method):
    return type("Wrong", (WebSocketView,), {"method": on("x")(method)})


@pytest.mark.parametrize(
    ("method", "part"),
    [
        (lambda self, *rest: None, "rest"),
        (lambda self, **rest: None, "rest"),
        (lambda self, id: None, "'id'"),
        (lambda self, type: None, "'type'"),
    ],
)
def test_a_method_that_cannot_get_fields_is_an_error_of_as_view(method, part):
    with pytest.raises(ConfigurationError, match=part):
        wrong(method).as_view()


def yields(self):
    yield


async def yields_later(self):
    yield


@pytest.mark.parametrize("method", [yields, yields_later])
def test_a_method_with_a_yield_is_an_error_of_as_view(method):
    with pytest.raises(ConfigurationError, match=r"method\(\) has a yield"):
        wrong(method).as_view()


@pytest.mark.parametrize(
    "name",
    ["on_message", "on_open", "get", "delete", "dispatch", "request", "subprotocols"],
)
def test_a_method_whose_name_means_something_else_is_an_error(name):
    def method(self): ...

    cls = type("Wrong", (WebSocketView,), {name: on("x")(method)})
    with pytest.raises(ConfigurationError, match=rf"{name}\(\) has @on"):
        cls.as_view()


def test_none_switches_a_method_off(site):
    class Less(Desk):
        add = None  # type: ignore[assignment]

    class More(Less):
        @on("add")
        def plus(self):
            return "plus"

    live = site({"less": Less.as_view(), "more": More.as_view()})
    with live.connect("less") as connection:
        ask = asker(connection)
        assert ask("add", a=1, b=2)["code"] == "unknown"
        assert ask("plus", a=1, b=2)["code"] == "unknown"
        assert ask("nothing")["type"] == "reply"
    with live.connect("more") as connection:
        assert asker(connection)("add")["data"] == "plus"


def test_what_cannot_be_called_is_an_error_of_as_view():
    cls = type("Wrong", (Desk,), {"add": 5})
    with pytest.raises(ConfigurationError, match=r"add is no method: 5"):
        cls.as_view()


def test_two_methods_of_one_type_are_an_error():
    class Twice(WebSocketView):
        @on("x")
        def one(self): ...

        @on("x")
        def two(self): ...

    with pytest.raises(ConfigurationError, match=r"one\(\) and two\(\)"):
        Twice.as_view()


@pytest.mark.parametrize("kind", ["", None, 7])
def test_the_type_of_a_message_is_a_name(kind):
    with pytest.raises(ConfigurationError, match="type of a message"):
        on(kind)


def test_the_type_of_pings_belongs_to_the_package():
    with pytest.raises(ConfigurationError, match=r"dwebsocket\.js"):
        on("ping")


def test_an_annotation_that_cannot_be_resolved_is_named():
    class Wrong(WebSocketView):
        @on("x")
        def method(self, field: Unheard): ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match="Unheard"):
        Wrong.as_view()


def test_only_annotations_of_fields_are_resolved(site):
    class Annotated(WebSocketView):
        @on("x")
        def method(self: Unheard, field: "int") -> Unheard:  # type: ignore[name-defined]  # noqa: F821, UP037
            return field

    with served(site, Annotated).connect() as connection:
        ask = asker(connection)
        assert ask("x", field=1)["data"] == 1
        assert ask("x", field="1")["code"] == "invalid"


def test_without_msgspec_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ConfigurationError, match=r"dwebsocket-rs\[messages\]"):
        Desk.as_view()


class Weight(float, models.Choices):
    HALF = 0.5


def test_errors_of_old_versions_of_msgspec_are_those_of_the_client(monkeypatch):
    class OldError(Exception):
        pass

    def decode(message):
        raise OldError("not JSON")

    monkeypatch.setattr(msgspec, "MsgspecError", OldError)
    table = typed.Table(Desk)
    monkeypatch.setattr(table, "_decode", decode)
    monkeypatch.setattr(table, "_decode_head", decode)
    answer = json.loads(table.call(Desk(), "{", pytest.fail) or "")
    assert (answer["code"], answer["message"]) == ("invalid", "not JSON")


T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)


@pydantic.dataclasses.dataclass
class Checked:
    number: int = pydantic.Field(gt=0)


@dataclasses.dataclass
class Unchecked:
    short: Annotated[str, pydantic.Field(max_length=3)]


class UncheckedDict(TypedDict):
    positive: NotRequired[pydantic.PositiveInt]


Short = NewType("Short", Annotated[str, pydantic.StringConstraints(max_length=3)])  # type: ignore[valid-newtype]


@dataclasses.dataclass
class Described:
    """Says something that checks nothing, and has a model with checks of its own."""

    short: Annotated[str, "a short text", msgspec.Meta(max_length=3)]
    amount: Amount


class Amount(BaseModel):
    number: Annotated[int, pydantic.Field(gt=0)]


class Unknown:
    pass


class Holder(msgspec.Struct):
    child: Holder | None = None
    unknown: Unknown | None = None


class Line(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def check(cls, value):
        if value == "key":
            return {}["swordfish"]
        if value == "type":
            raise TypeError("swordfish")
        if value == "form":
            raise ValidationError("say something")
        return value


@pytest.mark.parametrize(
    ("annotation", "part"),
    [
        (Unknown, "'field' of .*Unknown"),
        (Unknown | None, "Unknown"),
        (dict[str, list[Unknown]], "Unknown"),
        (Holder, "Unknown"),
        (list[int] | set[int], "array-like"),
        (int | Address, "custom type"),
        (Weight, "all str or all int"),
        (list[Checked], "the dataclass Checked of pydantic"),
        (Annotated[str, pydantic.Field(max_length=3)], "would not be checked"),
        (list[Annotated[str, pydantic.Field(max_length=3)]], "would not be checked"),
        (Unchecked | None, "would not be checked"),
        (UncheckedDict, "would not be checked"),
        (dict[str, Short], "would not be checked"),
        (T, "type variable ~T"),
        (list[T] | None, "type variable ~T"),
    ],
)
def test_a_field_of_a_type_that_json_lacks_is_an_error_of_as_view(annotation, part):
    def method(self, field): ...

    method.__annotations__["field"] = annotation
    with pytest.raises(ConfigurationError, match=part):
        wrong(method).as_view()


class Shelf(WebSocketView, Generic[T, Bound]):
    @on("put")
    def store(self, item: T, many: list[T] | None = None, count: Bound | None = None):
        return [type(item).__name__, many and type(many[0]).__name__]


class Points(Shelf[list[T], int], Generic[T]): ...


class Corners(Points[Point]): ...


class Numbers(Shelf[int, int]): ...


def test_a_generic_class_checks_the_types_of_its_subclass(site):
    corners = Corners.as_view(idle_timeout=60)  # a subclass of it
    live = site({"corners": corners, "numbers": Numbers.as_view()})
    with live.connect("corners") as connection:
        ask = asker(connection)
        point = {"x": 1}
        data = ask("put", item=[point], many=[[point]])["data"]
        assert data == ["list", "list"]
        for fields in ({"item": [{"x": ""}]}, {"item": [], "count": "1"}):
            assert ask("put", **fields)["code"] == "invalid"
    with live.connect("numbers") as connection:
        ask = asker(connection)
        assert ask("put", item=1)["data"] == ["int", None]
        assert ask("put", item="1")["code"] == "invalid"
        assert ask("put", item=1, many=["1"])["code"] == "invalid"


def test_annotations_may_say_what_nothing_checks(site):
    class Says(WebSocketView):
        @on("x")
        def method(self, field: Described, note: Annotated[int, "a number"] = 0):
            assert isinstance(field.amount, Amount)

    with served(site, Says).connect() as connection:
        ask = asker(connection)
        field = {"short": "abc", "amount": {"number": 1}}
        assert ask("x", field=field)["type"] == "reply"
        for wrong in ({"short": "abcd"}, {"amount": {"number": 0}}):
            assert ask("x", field=field | wrong)["code"] == "invalid"


def test_a_model_within_other_types_is_a_field(site):
    class Deep(WebSocketView):
        @on("list")
        def many(self, field: list[Line] | None = None):
            return field

        @on("dict")
        def named(self, field: dict[str, list[Line]] | None):
            return field

        @on("optional")
        def optional(self, field: Line | None = None):
            return field

    line = {"text": "a"}
    with served(site, Deep).connect() as connection:
        ask = asker(connection)
        assert ask("list", field=[line])["data"] == [line]
        assert ask("dict", field={"a": [line]})["data"] == {"a": [line]}
        assert ask("optional", field=line)["data"] == line
        assert ask("optional")["data"] is None


class Colour(models.TextChoices):
    RED = "red"


class Size(models.IntegerChoices):
    ONE = 1


class Kind(str, enum.Enum):
    SEND = "send"


class Paint(msgspec.Struct):
    colour: Colour


class Painter(WebSocketView):
    @on(Kind.SEND)
    def paint(
        self,
        colour: Colour | None = None,
        colours: list[Colour] | None = None,
        size: Size | None = None,
        paint: Paint | None = None,
    ):
        given = [colour, size, *(colours or []), paint and paint.colour]
        kinds = {type(one) for one in given if one is not None}
        assert kinds <= {Colour, Size}
        return given


def test_members_of_enumerations_are_fields(site):
    with served(site, Painter).connect() as connection:
        ask = asker(connection)
        for fields, given in (
            ({"colour": "red"}, ["red", None, None]),
            ({"colour": None, "colours": ["red"]}, [None, None, "red", None]),
            ({"size": 1, "paint": {"colour": "red"}}, [None, 1, "red"]),
        ):
            assert ask("send", **fields)["data"] == given
        for fields in ({"colour": "blue"}, {"size": 2}, {"size": True}, {"size": "1"}):
            assert ask("send", **fields)["code"] == "invalid"


def test_old_versions_of_msgspec_get_members_of_enumerations_made():
    decode = functools.partial(typed._decode_other, msgspec.json.encode)
    assert decode(Colour, "red") is Colour.RED
    assert typed._encode_other(Size.ONE) == 1
    for kind, value in ((Colour, "blue"), (Size, 2), (Size, True), (Size, "1")):
        with pytest.raises(ValueError, match="not a valid"):
            decode(kind, value)


class Sheet(BaseModel):
    lines: list[Line]


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"sheet": {"lines": [0] * 2}}, "; lines.1: Input should be"),
        ({"sheet": {"lines": [0] * 100_000}}, "100000 mistakes"),
        ({"choice": "x" * 100_000}, "Invalid enum value 'xxx"),
        ({"text": "x" * 100_000}, "xxx"),
    ],
)
def test_an_error_is_short_whatever_the_message(site, fields, part):
    class Sheets(WebSocketView):
        @on("x")
        def method(
            self,
            sheet: Sheet | None = None,
            choice: Literal["a", "b"] = "a",
            text: str = "",
        ):
            raise ValidationError(text)

    with served(site, Sheets).connect() as connection:
        answer = asker(connection)("x", **fields)
    assert (answer["type"], answer["code"]) == ("error", "invalid")
    assert part in answer["message"]
    assert len(answer["message"]) <= 1000


class Strict(BaseModel, strict=True):
    when: datetime.date
    key: uuid.UUID
    colour: Colour
    pair: tuple[int, int]


def test_a_strict_model_is_read_from_json(site):
    class Exact(WebSocketView):
        @on("x")
        def method(self, field: list[Strict]):
            return field

    given = {
        "when": "2026-01-02",
        "key": "12345678-1234-5678-1234-567812345678",
        "colour": "red",
        "pair": [1, 2],
    }
    with served(site, Exact).connect() as connection:
        ask = asker(connection)
        assert ask("x", field=[given])["data"] == [given]
        assert "pair.1" in ask("x", field=[given | {"pair": [1, "2"]}])["message"]


class Lines(WebSocketView):
    @on("x")
    def method(self, field: Line):
        return field


class AsyncLines(WebSocketView):
    @on("x")
    async def method(self, field: Line):
        return field


@pytest.mark.parametrize("cls", [Lines, AsyncLines])
@pytest.mark.parametrize("text", ["key", "type"])
def test_a_mistake_of_a_model_is_logged_and_the_reply_tells_no_secret(
    site, caplog, cls, text
):
    with served(site, cls).connect() as connection:
        ask = asker(connection)
        with caplog.at_level(logging.ERROR, "dwebsocket.view"):
            answer = ask("x", field={"text": text})
        assert (answer["type"], answer["id"]) == ("error", 1)
        assert (answer["code"], "swordfish" in json.dumps(answer)) == ("failed", False)
        (record,) = [r for r in caplog.records if r.exc_info]
        assert "swordfish" in record.exc_text
        assert ask("x", field={"text": "form"})["message"] == "say something"
        assert ask("x", field={"text": "a"})["type"] == "reply"


class Talks(WebSocketView):
    begun: threading.Event
    ended: threading.Event

    @on("x")
    def method(self):
        self.begun.set()
        while True:
            self.websocket.receive()

    def on_close(self, code):
        self.ended.set()


class AsyncTalks(Talks):
    async def method(self):
        self.begun.set()
        while True:
            await self.websocket.receive()


@pytest.mark.parametrize("base", [Talks, AsyncTalks])
def test_a_method_whose_peer_has_gone_is_not_logged(site, caplog, base):
    events = {"begun": threading.Event(), "ended": threading.Event()}
    cls = type("Talks", (base,), events)
    with (
        caplog.at_level(logging.WARNING, "dwebsocket.view"),
        served(site, cls).connect() as connection,
    ):
        connection.send('{"type": "x"}')
        assert cls.begun.wait(TIMEOUT)
        connection.socket.shutdown(socket.SHUT_RDWR)
        assert cls.ended.wait(TIMEOUT)
    assert not caplog.records


@pytest.mark.parametrize(
    ("message", "number"),
    [
        (r'{"text": "\ud83d", "type": "echo", "id": 7}', 7),
        (r'{"text": "\ud83d", "type": "echo", "id": "seven"}', "seven"),
        (r'{"text": "\ud83d", "type": "echo", "id": "\ud83d"}', None),
        (r'{"text": "\ud83d", "type": "echo", "id": 1' + "0" * 30 + "}", None),
        (r'["\ud83d"]', None),
        ('{"type": "any", "value": ' + "[" * 500 + "]" * 500 + ', "id": 7}', 7),
    ],
)
def test_an_error_has_the_id_of_what_cannot_be_read(ask, message, number):
    ask.connection.send(message)
    answer = received(ask.connection)
    assert answer["id"] == number


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
@pytest.mark.parametrize("outside", [True, False])
def test_a_method_of_the_class_is_an_error_of_as_view(kind, outside):
    def method(first, field): ...

    marked = kind(on("x")(method)) if outside else on("x")(kind(method))
    cls = type("Wrong", (WebSocketView,), {"method": marked})
    with pytest.raises(ConfigurationError, match=kind.__name__):
        cls.as_view()


def test_a_hidden_coroutine_is_a_mistake_that_is_named(site, caplog):
    def hide(method):
        @functools.wraps(method)
        def wrapper(self, *args):
            return method(self, *args)

        return wrapper

    class Hidden(WebSocketView):
        @on("hidden")
        @hide
        async def hidden(self): ...

    class AsyncHidden(Hidden):
        @on("other")
        async def other(self): ...

    live = site({"sync": Hidden.as_view(), "async": AsyncHidden.as_view()})
    for route in ("sync", "async"):
        caplog.clear()
        with (
            caplog.at_level(logging.ERROR, "dwebsocket.view"),
            live.connect(route) as connection,
        ):
            connection.send('{"type": "hidden"}')
            answer = received(connection)
        assert answer["code"] == "failed"
        assert "hides" in caplog.text


class OwnDesk(Desk):
    subprotocols = ["own"]


@pytest.mark.parametrize(
    ("cls", "offered", "chosen"),
    [
        (Desk, ["dwebsocket.v1"], "dwebsocket.v1"),
        (AsyncDesk, ["dwebsocket.v1"], "dwebsocket.v1"),
        (OwnDesk, ["other", "dwebsocket.v1"], "dwebsocket.v1"),
        # The page's own subprotocols go first.
        (OwnDesk, ["own", "dwebsocket.v1"], "own"),
    ],
)
def test_the_first_frame_for_dwebsocket_js_is_that_of_sessions(
    site, cls, offered, chosen
):
    with served(site, cls).connect(subprotocols=offered) as connection:
        assert connection.subprotocol == chosen
        welcome = received(connection)
        assert welcome.pop("id")
        assert welcome == {"type": "welcome", "ping": 25.0, "version": 1}
        assert asker(connection)("echo", text="x")["type"] == "reply"


@pytest.mark.parametrize("offered", [None, ["own"]])
def test_other_clients_get_no_such_frame(site, offered):
    with served(site, OwnDesk).connect(subprotocols=offered) as connection:
        assert asker(connection)("echo", text="x")["type"] == "reply"

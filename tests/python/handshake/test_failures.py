"""What is the WebSocket's absence, and what is a view's own fault."""

from __future__ import annotations

import functools

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.viewsets import ViewSet

from dwebsocket import accept_websocket, websocket
from dwebsocket.handshake import failures
from dwebsocket.session import Session


class Error(Exception):
    pass


def iterates(request):
    for message in request.websocket:
        request.websocket.send(message)


def waits(request):
    while True:
        message = request.websocket.wait()
        if message is None:
            break


def sends(request, room="x"):
    request.websocket.send(f"hello {room}")


def joins(request):
    request.websocket.join(
        "chat.room",
        history=10,
    )


def sets(request):
    request.websocket.handle = print


def alias(request):
    socket = request.websocket
    other = socket
    for message in other:
        other.send(message)


def walrus(request):
    while (socket := request.websocket) and False:
        pass
    socket.send("x")


def by_getattr(request):
    socket = getattr(request, "websocket", None)
    socket.send("x")


def comprehension(request):
    return [message.upper() for message in request.websocket]


def built_in(request):
    return list(request.websocket)


def first(request):
    return next(iter(request.websocket))


def _serve(socket, times=1):
    for message in socket:
        socket.send(message * times)


def helper(request):
    _serve(request.websocket)


def keyword(request):
    _serve(times=2, socket=request.websocket)


def inner(request):
    socket = request.websocket

    def loop():
        for message in socket:
            socket.send(message)

    loop()


users = []


def chat(request):
    users.append(request.websocket)
    try:
        for message in request.websocket:
            for user in users:
                user.send(message)
    finally:
        users.remove(request.websocket)


def session(request):
    Session(request.websocket, request).run()


class Consumer:
    def __init__(self, socket):
        self.socket = socket

    def run(self):
        self.loop()

    def loop(self):
        while True:
            self.socket.wait()


def consumer(request):
    Consumer(request.websocket).run()


def named_consumer(request):
    served = Consumer(request.websocket)
    served.run()


class Method(View):
    @method_decorator(websocket)
    def get(self, request):
        self.socket = request.websocket
        self.talk()

    def talk(self):
        self.socket.send("x")


@method_decorator(websocket, name="dispatch")
class Dispatch(View):
    def get(self, request):
        for message in request.websocket:
            request.websocket.send(message)


class Rest(ViewSet):
    @websocket
    def list(self, request):
        request.websocket.send("x")


ONLY_WEBSOCKET = {
    view.__name__: websocket(view)
    for view in (
        iterates,
        waits,
        sends,
        joins,
        sets,
        alias,
        by_getattr,
        comprehension,
        built_in,
        first,
        helper,
        keyword,
        inner,
        chat,
        session,
        consumer,
        named_consumer,
        walrus,
    )
} | {
    "classic": accept_websocket(iterates),
    "twice": websocket(accept_websocket(iterates)),
    "partial": websocket(functools.partial(sends, room="y")),
    "method": Method.as_view(),
    "dispatch": Dispatch.as_view(),
    "rest outside": websocket(api_view(["GET"])(iterates)),
    "rest inside": api_view(["GET"])(websocket(iterates)),
    "rest viewset": Rest.as_view({"get": "list"}),
}


@pytest.mark.parametrize("name", ONLY_WEBSOCKET)
def test_a_view_that_only_talks_websocket_answers_426(name):
    assert ONLY_WEBSOCKET[name](RequestFactory().get("/")).status_code == 426
    assert users == []


def asked(request):
    if not request.is_websocket():
        for message in request.websocket:
            print(message)


def looked_at(request):
    if not request.is_websocket:
        request.websocket.send("x")


def other_none(request):
    rows = None
    if request.websocket is not None:
        rows = []
    for row in rows:
        print(row)


def other_attribute(request):
    match = None
    if request.websocket is None:
        match.group()


def constant(request):
    for row in None:
        print(row)


def other_of_the_same_name(request):
    mail = None
    if request.websocket is None:
        mail.send("x")


def other_argument(request):
    def log(text, socket=None):
        for letter in text:
            print(letter, socket)

    text = None
    log(text)


def by_hand(request):
    raise AttributeError("'NoneType' object has no attribute 'send'")


def by_hand_about_iteration(request):
    if request.websocket is None:
        raise TypeError("'NoneType' object is not iterable")


def wrong_type(request):
    return HttpResponse(str(1 + "2"))


def misspelt(request):
    return request.webbsocket


def handled(request):
    try:
        request.websocket.send("x")
    except AttributeError:
        raise Error from None


OWN_FAULTS = {
    view.__name__: view
    for view in (
        asked,
        looked_at,
        other_none,
        other_attribute,
        constant,
        other_of_the_same_name,
        other_argument,
        by_hand,
        by_hand_about_iteration,
        wrong_type,
        misspelt,
        handled,
    )
}


@pytest.mark.parametrize("name", OWN_FAULTS)
def test_a_fault_of_the_views_own_stays_one(name):
    view = OWN_FAULTS[name]
    with pytest.raises((AttributeError, TypeError, Error)) as caught:
        websocket(view)(RequestFactory().get("/"))
    assert caught.traceback[-1].name in (name, "log")


def test_without_source_nothing_is_claimed():
    namespace = {}
    exec("def view(request):\n    request.websocket.send('x')", namespace)
    with pytest.raises(AttributeError) as caught:
        namespace["view"](type("Request", (), {"websocket": None}))
    assert not failures.needed(caught.value)


def test_a_parser_that_was_entered_twice_is_asked_again(monkeypatch, tmp_path):
    """Python 3.11 fails so if the garbage collector has a traceback shown meanwhile."""
    source = tmp_path / "parsed_again.py"
    source.write_text("x = 1\n")
    parse = failures.ast.parse
    results = [SystemError("AST constructor recursion depth mismatch"), None]

    def fails_once(text):
        error = results.pop(0)
        if error is not None:
            raise error
        return parse(text)

    monkeypatch.setattr(failures.ast, "parse", fails_once)
    assert failures._parsed(str(source), 1) is not None
    assert results == []

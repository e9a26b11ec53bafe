from __future__ import annotations

import functools
import http.client
import logging

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet
from websockets.exceptions import ConnectionClosed

from dwebsocket import (
    ConfigurationError,
    accept_websocket,
    require_websocket,
    runners,
    websocket,
)

from .live import HANDSHAKE


def view(request, *args, **kwargs):
    """Talk either way."""
    if not request.is_websocket():
        return HttpResponse("http")
    for message in request.websocket:
        if message is None:
            break
        request.websocket.send(message)
    return HttpResponse("never sent")


class Plain(View):
    @method_decorator(accept_websocket)
    def get(self, request):
        return view(request)


@method_decorator(accept_websocket, name="dispatch")
class Dispatched(View):
    def get(self, request):
        return view(request)


class Direct(View):
    @accept_websocket
    def get(self, request):
        return view(request)


class Static(View):
    @staticmethod
    @accept_websocket
    def inside(request):
        return view(request)

    @accept_websocket
    @staticmethod
    def outside(request):
        return view(request)


class Rest(APIView):
    @method_decorator(accept_websocket)
    def get(self, request):
        assert request.is_websocket is request._request.is_websocket
        assert request.websocket is request._request.websocket
        view(request)
        return Response("never rendered")


@method_decorator(csrf_exempt, name="dispatch")
@method_decorator(accept_websocket, name="dispatch")
class RestDispatched(APIView):
    def get(self, request):
        if not request.is_websocket():
            return HttpResponse("http")
        view(request)
        return Response("never rendered")


def closure():
    greeting = "http"

    @accept_websocket
    def inner(request):
        assert greeting
        return view(request)

    return inner


FORMS = {
    "bare": accept_websocket(view),
    "called": accept_websocket()(view),
    "arguments": accept_websocket(max_message_size=1000, compression=False)(view),
    "websocket": websocket(view),
    "closure": closure(),
    "partial": accept_websocket(functools.partial(view, x=1)),
    "exempt inside": accept_websocket(csrf_exempt(view)),
    "exempt outside": csrf_exempt(accept_websocket(view)),
    "twice": accept_websocket(accept_websocket(view)),
    "dialects": websocket(accept_websocket(view)),
    "method": Plain.as_view(),
    "dispatch": Dispatched.as_view(),
    "direct": Direct.as_view(),
    "static inside": Static.inside,
    "static outside": Static.outside,
    "rest dispatch": RestDispatched.as_view(),
    "rest function": accept_websocket(api_view(["GET"])(view)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("middleware", [False, True])
def test_every_form_talks_both_ways(site, form, middleware):
    listed = ["dwebsocket.middleware.WebSocketMiddleware"] if middleware else []
    running = site({"": FORMS[form]}, MIDDLEWARE=[*settings.MIDDLEWARE, *listed])
    assert running.request()[1] == b"http"
    with running.connect() as connection:
        connection.send("hello")
        assert connection.recv(timeout=10) == "hello"


@pytest.mark.parametrize(
    "form",
    [
        require_websocket(view),
        accept_websocket(require_websocket(view)),
        require_websocket(accept_websocket(view)),
    ],
)
def test_require_refuses_http_in_any_order(site, form):
    running = site({"": form})
    response, body = running.request()
    assert (response.status, body) == (400, b"")
    with running.connect() as connection:
        connection.send("hello")
        assert connection.recv(timeout=10) == "hello"


def test_a_rest_views_method(site):
    with site({"": Rest.as_view()}).connect() as connection:
        connection.send("hello")
        assert connection.recv(timeout=10) == "hello"


def test_the_view_gets_its_arguments(site):
    @accept_websocket
    def named(request, name, **kwargs):
        request.websocket.send(name + request.GET["q"] + request.COOKIES["c"])

    with site({"<str:name>/": named}).connect(
        "abc/?q=def", additional_headers={"Cookie": "c=ghi"}
    ) as connection:
        assert connection.recv(timeout=10) == "abcdefghi"


class NoOne(BasePermission):
    def has_permission(self, request, view):
        return False


class Never(BaseThrottle):
    def allow_request(self, request, view):
        return False

    def wait(self):
        return 7.0


class Talks(APIView):
    """Talks, and returns no response when it is done."""

    def get(self, request):
        for message in request.websocket:
            request.websocket.send(message)


class TalksSet(ViewSet):
    def list(self, request):
        Talks().get(request)


@api_view(["GET"])
def talks(request):
    Talks().get(request)


def guarded(rule, guard):
    return type(guard.__name__, (Talks,), {rule: [guard]})


class TestRestFramework:
    """Its views insist on a response, and answer refusals themselves."""

    @pytest.mark.parametrize(
        "view",
        [
            websocket(talks),
            websocket(Talks.as_view()),
            websocket(TalksSet.as_view({"get": "list"})),
            method_decorator(websocket, name="dispatch")(
                type("Dispatch", (Talks,), {})
            ).as_view(),
            api_view(["GET"])(websocket(lambda request: Talks().get(request))),
        ],
        ids=["function", "class", "set", "dispatch", "inside"],
    )
    def test_a_conversation_ends_without_an_error(self, site, caplog, view):
        running = site({"": view})
        with running.connect() as connection:
            connection.send("hello")
            assert connection.recv(timeout=10) == "hello"
        assert runners.join(10)
        assert connection.close_code == 1000
        assert caplog.records == []

    @pytest.mark.parametrize(
        ("rule", "guard", "status"),
        [
            ("permission_classes", IsAuthenticated, 403),
            ("permission_classes", NoOne, 403),
            ("throttle_classes", Never, 429),
        ],
    )
    def test_a_refusal_closes_with_1008_or_answers(
        self, site, caplog, rule, guard, status
    ):
        view = guarded(rule, guard)

        class Inside(view):
            get = method_decorator(websocket)(Talks.get)

        running = site(
            {"outside": websocket(view.as_view()), "inside": Inside.as_view()}
        )
        response, _ = running.request("inside", **HANDSHAKE)
        assert response.status == status
        with (
            running.connect("outside") as connection,
            pytest.raises(ConnectionClosed, match=rf"1008 .* refused \({status}\)"),
        ):
            connection.recv(timeout=10)
        assert runners.join(10)
        [record] = [r for r in caplog.records if r.name == "dwebsocket.view"]
        assert record.levelno == logging.WARNING
        assert guard.__name__ in record.getMessage()

    def test_a_failed_assertion_of_the_views_own_is_an_error(self, site, caplog):
        class Wrong(APIView):
            def get(self, request):
                raise AssertionError("Expected a `Response`")

        running = site({"": websocket(Wrong.as_view())})
        with (
            running.connect() as connection,
            pytest.raises(ConnectionClosed, match="1011"),
        ):
            connection.recv(timeout=10)
        assert runners.join(10)
        assert "Traceback" in caplog.text


def test_login_required_outside_redirects_and_inside_closes(site):
    cookies = "django.contrib.sessions.backends.signed_cookies"
    outside = login_required(accept_websocket(view))
    inside = accept_websocket(login_required(view))
    running = site({"outside": outside, "inside": inside}, SESSION_ENGINE=cookies)
    response, _ = running.request("outside", **HANDSHAKE)
    assert response.status == 302
    with (
        running.connect("inside") as connection,
        pytest.raises(ConnectionClosed, match=r"1008 .* refused \(302\)"),
    ):
        connection.recv(timeout=10)


def test_a_new_function_is_returned_with_the_attributes():
    plain = accept_websocket(view)
    required = require_websocket(view)
    assert plain is not view
    assert plain.__name__ == "view"
    assert plain.__doc__ == "Talk either way."
    assert plain.__wrapped__ is view
    assert (plain.accept_websocket, plain.require_websocket) == (True, False)
    assert (required.accept_websocket, required.require_websocket) == (True, True)
    assert accept_websocket(required).require_websocket is True
    assert not hasattr(view, "accept_websocket")


async def coroutine(request):
    """Be asynchronous."""


class Async(View):
    async def get(self, request):
        """Be asynchronous."""


@pytest.mark.parametrize(
    "async_view",
    [
        coroutine,
        functools.partial(coroutine),
        staticmethod(coroutine),
        Async.as_view(),
    ],
)
def test_an_async_view_becomes_a_synchronous_function(async_view):
    """Servers call it, and middleware sees its response."""
    decorated = accept_websocket(async_view)
    assert not iscoroutinefunction(decorated)
    assert decorated.serves_asynchronously
    assert accept_websocket(decorated).serves_asynchronously


@pytest.mark.parametrize("decorator", [accept_websocket, require_websocket, websocket])
def test_a_class_of_views_is_refused_when_it_is_decorated(decorator):
    class Echo(View):
        pass

    with pytest.raises(ConfigurationError, match="as_view"):
        decorator(Echo)
    assert callable(decorator(Echo.as_view()))


def generator(request):
    yield from request.websocket


@pytest.mark.parametrize(
    "given", [generator, functools.partial(generator), staticmethod(generator)]
)
def test_a_generator_is_refused_when_it_is_decorated(given):
    with pytest.raises(ConfigurationError, match="has a yield"):
        websocket(given)


@pytest.mark.parametrize("given", ["echo/", 8000, ["echo"]])
def test_what_is_no_view_is_refused_when_it_is_decorated(given):
    with pytest.raises(ConfigurationError, match="is used on a view"):
        websocket(given)


def test_wrong_arguments_are_refused_when_decorating():
    with pytest.raises(ConfigurationError, match="'max_message_size'"):
        accept_websocket(max_message_sise=1)
    with pytest.raises(ConfigurationError, match="Did you mean 'subprotocols'"):
        accept_websocket(subprotocol=["chat"])
    with pytest.raises(ConfigurationError, match='Write accept="manual"'):
        accept_websocket(manual=True)


def test_a_call_without_a_request_is_refused():
    with pytest.raises(TypeError, match="request"):
        accept_websocket(view)("no request")


def test_the_request_may_be_a_keyword():
    assert accept_websocket(view)(request=RequestFactory().get("/")).status_code == 200


def test_an_asgi_request_gets_501():
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
    }
    request = AsyncRequestFactory().get("/", headers=headers)
    response = accept_websocket(view)(request)
    assert response.status_code == 501


def test_the_size_limit_of_a_decorator_holds(site):
    running = site({"": FORMS["arguments"]})
    with running.connect() as connection:
        connection.send("x" * 1001)
        with pytest.raises(ConnectionClosed, match="1009"):
            connection.recv(timeout=10)


def test_exactly_one_101_and_nothing_after_the_close(site):
    running = site({"": accept_websocket(require_websocket(lambda request: None))})
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in HANDSHAKE.items()}
    connection.request("GET", "/", headers=headers)
    sock = connection.sock
    received = b""
    while not received.endswith(b"\x88\x02\x03\xe8"):
        received += sock.recv(4096)
    assert received.count(b"HTTP/1.1") == 1
    # The client's half of the close handshake, masked with zeros.
    sock.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
    assert sock.recv(4096) == b""
    connection.close()

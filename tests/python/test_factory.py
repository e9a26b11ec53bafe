from __future__ import annotations

import pytest
from django.core.exceptions import BadRequest
from django.test import RequestFactory
from django.utils.deprecation import MiddlewareMixin
from websockets.exceptions import ConnectionClosedOK

from dwebsocket import SocketUnavailable, accept_websocket
from dwebsocket.backends.default.factory import WebSocketFactory
from dwebsocket.backends.default.websocket import DefaultWebSocket
from dwebsocket.backends.uwsgi.factory import uWsgiWebSocketFactory
from dwebsocket.factory import WebSocketFactory as Base

from .live import HANDSHAKE

PATHS = [
    "dwebsocket.factory.WebSocketFactory",
    "dwebsocket.backends.default.factory.WebSocketFactory",
    "dwebsocket.backends.uwsgi.factory.uWsgiWebSocketFactory",
]


class Shouting(DefaultWebSocket):
    def shout(self, text):
        self.send(text.upper())


class ShoutingFactory(WebSocketFactory):
    websocket_class = Shouting


class OldFactory(WebSocketFactory):
    """As projects have written it: no arguments, and the socket itself."""

    def create_websocket(self):
        websocket = super().create_websocket()
        if websocket is not None:
            websocket.made_by = "old code"
        return websocket

    def get_wsgi_sock(self):
        return super().get_wsgi_sock().sock


@accept_websocket
def tell(request):
    request.websocket.send(type(request.websocket).__name__)


@pytest.mark.parametrize("path", PATHS)
def test_the_old_setting_may_name_any_of_them(site, path):
    with site({"": tell}, WEBSOCKET_FACTORY_CLASS=path).connect() as connection:
        assert connection.recv(timeout=10).endswith("WebSocket")


def test_a_project_may_bring_its_own(site):
    @accept_websocket
    def view(request):
        request.websocket.shout("loud")

    path = "tests.python.test_factory.ShoutingFactory"
    running = site({"": view}, DWEBSOCKET={"FACTORY_CLASS": path})
    with running.connect() as connection:
        assert connection.recv(timeout=10) == "LOUD"


def test_a_project_may_bring_one_that_was_written_for_the_old_package(site):
    @accept_websocket
    def view(request):
        request.websocket.send(request.websocket.made_by)

    path = "tests.python.test_factory.OldFactory"
    running = site({"": view}, WEBSOCKET_FACTORY_CLASS=path)
    with running.connect() as connection:
        assert connection.recv(timeout=10) == "old code"


class Wrapper:
    """Has a WebSocket, and methods of its own only."""

    def __init__(self, websocket):
        self._websocket = websocket

    def send(self, message):
        return self._websocket.send(f"<{message}>")

    def wait(self):
        return self._websocket.wait()

    def close(self, code=None, reason=None):
        self._websocket.close(code, reason)


class WrappingFactory(WebSocketFactory):
    def create_websocket(self):
        websocket = super().create_websocket()
        return websocket and Wrapper(websocket)


def test_a_factory_may_wrap_the_websocket(site, caplog):
    @accept_websocket
    def view(request):
        request.websocket.send(request.websocket.wait().decode())

    path = "tests.python.test_factory.WrappingFactory"
    running = site({"": view}, WEBSOCKET_FACTORY_CLASS=path)
    with running.connect() as connection:
        connection.send("hello")
        assert connection.recv(timeout=10) == "<hello>"
        with pytest.raises(ConnectionClosedOK):
            connection.recv(timeout=10)
    assert caplog.records == []


def test_the_classes_are_related():
    assert issubclass(uWsgiWebSocketFactory, WebSocketFactory)
    assert issubclass(WebSocketFactory, Base)
    assert WebSocketFactory.websocket_class is DefaultWebSocket


def test_a_factory_answers_for_its_request():
    request = RequestFactory().get(
        "/", HTTP_UPGRADE="websocket", HTTP_SEC_WEBSOCKET_VERSION="13"
    )
    factory = WebSocketFactory(request)
    assert factory.is_websocket() is True
    assert factory.get_websocket_version() == "13"
    assert isinstance(factory.create_websocket(), DefaultWebSocket)
    with pytest.raises(SocketUnavailable):
        factory.get_wsgi_sock()
    plain = WebSocketFactory(RequestFactory().get("/"))
    assert plain.is_websocket() is False
    assert plain.get_websocket_version() == ""
    assert plain.create_websocket() is None


def test_in_a_view_that_has_one_it_is_the_same(site):
    @accept_websocket
    def view(request):
        found = WebSocketFactory(request).create_websocket()
        found.accept_connection()
        assert found is request.websocket
        found.send("the same")

    with site({"": view}).connect() as connection:
        assert connection.recv(timeout=10) == "the same"


class CopiedMiddleware(MiddlewareMixin):
    """That of the old package, which closes what is left after an error."""

    def process_request(self, request):
        request.websocket = WebSocketFactory(request).create_websocket()
        request.is_websocket = lambda: request.websocket is not None

    def process_view(self, request, view, args, kwargs):
        if request.is_websocket():
            request.websocket.accept_connection()

    def process_response(self, request, response):
        if request.is_websocket():
            request.websocket.close()
        return response

    def process_exception(self, request, exception):
        request.websocket.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://other.example"}, 403),
        ({"Sec_WebSocket_Version": "7"}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
    ],
)
def test_a_middleware_of_old_code_can_close_what_was_refused(site, headers, status):
    path = "tests.python.test_factory.CopiedMiddleware"
    running = site({"": tell}, MIDDLEWARE=[path])
    response, _ = running.request(**{**HANDSHAKE, **headers})
    assert response.status == status
    with running.connect() as connection:
        assert connection.recv(timeout=10).endswith("WebSocket")


class TestBeforeItIsAccepted:
    def create(self):
        request = RequestFactory().get("/", HTTP_UPGRADE="websocket")
        return WebSocketFactory(request).create_websocket()

    @pytest.mark.parametrize("name", ["wait", "send", "read", "receive", "fileno"])
    def test_it_says_what_to_do(self, name):
        arguments = ("x",) if name == "send" else ()
        with pytest.raises(RuntimeError, match="accept_connection"):
            getattr(self.create(), name)(*arguments)

    def test_it_can_be_looked_at_and_closed(self):
        websocket = self.create()
        assert websocket.is_closed() is False
        assert websocket.close_code is None
        assert {websocket: str(websocket)}
        websocket.close()
        assert websocket.is_closed() is True
        with pytest.raises(RuntimeError, match="closed"):
            websocket.accept_connection()

    def test_a_handshake_that_is_none_is_a_value_error(self):
        # As old middleware expects, and an answer of 400 by itself.
        with pytest.raises(ValueError, match="Connection header") as caught:
            self.create().accept_connection()
        assert isinstance(caught.value, BadRequest)

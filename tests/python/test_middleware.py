from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.decorators import decorator_from_middleware, method_decorator
from django.utils.deprecation import MiddlewareMixin
from django.views import View

from dwebsocket import (
    ConfigurationError,
    accept_websocket,
    require_websocket,
    signals,
)
from dwebsocket.middleware import WebSocketMiddleware

from .live import HANDSHAKE

OURS = "dwebsocket.middleware.WebSocketMiddleware"
HERE = "tests.python.test_middleware"


def talk(request):
    if not request.is_websocket():
        assert request.websocket is None
        return HttpResponse("http")
    request.websocket.send(request.websocket.wait())
    return None


def marked(request):
    return talk(request)


marked.accept_websocket = True


def demanding(request):
    return talk(request)


demanding.require_websocket = True


class Decorated(View):
    @method_decorator(require_websocket)
    def get(self, request):
        return talk(request)


class Mixed(MiddlewareMixin, WebSocketMiddleware):
    """What projects did with a class that was for MIDDLEWARE_CLASSES."""


class Extended(MiddlewareMixin, WebSocketMiddleware):
    def process_request(self, request):
        request.seen = True
        return super().process_request(request)

    def process_response(self, request, response):
        assert request.seen
        return super().process_response(request, response)


class Gate:
    """Refuses every view, the way LoginRequiredMiddleware does."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        return HttpResponse("closed", status=401)


class Open(Gate):
    """Looks at every view and lets it pass."""

    def process_view(self, request, view, args, kwargs):
        request.seen = True


def function_middleware(get_response):
    def middleware(request):
        return get_response(request)

    return middleware


def under(*later):
    return {"MIDDLEWARE": [*settings.MIDDLEWARE, OURS, *(f"{HERE}.{n}" for n in later)]}


def talks(running, route=""):
    with running.connect(route) as connection:
        connection.send("hello")
        return connection.recv(timeout=10) == "hello"


class TestViews:
    def test_one_that_is_not_decorated_refuses_a_websocket(self, site, caplog):
        heard = []

        def hear(status, reason, **kwargs):
            heard.append((status, reason))

        signals.websocket_rejected.connect(hear)
        running = site({"": talk}, **under())
        response, body = running.request(**HANDSHAKE)
        signals.websocket_rejected.disconnect(hear)
        assert response.status == 400
        assert b"decorate it with @websocket" in body
        assert heard == [(400, body.decode().strip())]
        [record] = [r for r in caplog.records if r.levelname == "WARNING"]
        assert record.name == "dwebsocket.handshake"
        assert "WebSocket refused (400)" in record.getMessage()
        assert running.request()[1] == b"http"

    def test_one_that_is_marked_talks(self, site):
        running = site({"": marked}, **under())
        assert talks(running)
        assert running.request()[1] == b"http"

    @pytest.mark.parametrize(
        "setting",
        [{"WEBSOCKET_ACCEPT_ALL": True}, {"DWEBSOCKET": {"ACCEPT_ALL": True}}],
    )
    def test_any_one_talks_with_accept_all(self, site, setting):
        assert talks(site({"": talk}, **under(), **setting))

    def test_one_that_is_marked_as_demanding_refuses_http(self, site):
        response, body = site({"": demanding}, **under()).request()
        assert (response.status, body) == (400, b"")

    def test_a_decorated_method_talks_and_refuses_http(self, site):
        running = site({"": Decorated.as_view()}, **under())
        assert talks(running)
        response, body = running.request()
        assert (response.status, body) == (400, b"")

    def test_every_request_has_the_attributes(self, site):
        def plain(request):
            assert request.websocket is None
            assert request.is_websocket() is False
            return HttpResponse("fine")

        assert site({"": plain}, **under()).request()[1] == b"fine"


class TestOldCode:
    @pytest.mark.parametrize("name", ["Mixed", "Extended"])
    def test_may_mix_it_with_the_mixin_of_django(self, site, name):
        views = {"": marked, "decorated": accept_websocket(talk), "other": talk}
        middleware = [*settings.MIDDLEWARE, f"{HERE}.{name}"]
        running = site(views, MIDDLEWARE=middleware)
        assert talks(running)
        assert talks(running, "decorated")
        assert running.request("other", **HANDSHAKE)[0].status == 400
        assert running.request("other")[1] == b"http"

    def test_may_make_a_decorator_of_it(self, site):
        decorator = decorator_from_middleware(WebSocketMiddleware)
        running = site({"": decorator(marked), "demanding": decorator(demanding)})
        assert talks(running)
        assert running.request()[1] == b"http"
        assert running.request("demanding")[0].status == 400


class TestLaterMiddleware:
    def test_may_refuse_the_view(self, site):
        response, body = site({"": marked}, **under("Gate")).request(**HANDSHAKE)
        assert (response.status, body) == (401, b"closed")

    def test_may_refuse_a_decorated_view(self, site):
        decorated = accept_websocket(talk)
        response, _ = site({"": decorated}, **under("Gate")).request(**HANDSHAKE)
        assert response.status == 401

    def test_sees_the_view_before_it_runs(self, site):
        def seen(request):
            request.websocket.send(str(request.seen))

        seen.accept_websocket = True
        running = site({"": seen}, **under("function_middleware", "Open"))
        response, _ = running.request(**HANDSHAKE)
        assert response.status == 500
        running.stop()
        running = site({"": seen}, **under("Open", "function_middleware"))
        with running.connect() as connection:
            assert connection.recv(timeout=10) == "True"

    def test_that_cannot_be_reached_is_an_error(self, settings):
        settings.MIDDLEWARE = under("Gate")["MIDDLEWARE"]
        middleware = WebSocketMiddleware(lambda request: HttpResponse())
        with pytest.raises(ConfigurationError, match="end of MIDDLEWARE"):
            middleware._later_hooks()


def test_it_is_asynchronous_where_the_rest_is():
    async def get_response(request):
        return HttpResponse(str(request.is_websocket()))

    middleware = WebSocketMiddleware(get_response)
    assert iscoroutinefunction(middleware)
    assert not iscoroutinefunction(WebSocketMiddleware(lambda request: None))

    async def respond():
        return await middleware(RequestFactory().get("/"))

    # In a thread of its own: a browser test's event loop may be running in this one.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, respond()).result().content == b"False"

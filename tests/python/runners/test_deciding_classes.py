"""Views that accept by hand as methods of classes."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views import View

from dwebsocket import websocket
from tests.python.live import HANDSHAKE

by_hand = websocket(accept="manual")


def serve(request):
    if "no" in request.GET:
        return HttpResponse("no", status=409)
    request.websocket.accept()
    for message in request.websocket:
        request.websocket.send(message)
    return None


async def aserve(request):
    if "no" in request.GET:
        return HttpResponse("no", status=409)
    await request.websocket.accept()
    async for message in request.websocket:
        await request.websocket.send(message)
    return None


class Method(View):
    @by_hand
    def get(self, request):
        return serve(request)


class Decorated(View):
    @method_decorator(by_hand)
    def get(self, request):
        return serve(request)


@method_decorator(by_hand, name="dispatch")
class Dispatch(View):
    def get(self, request):
        return serve(request)


class AsyncMethod(View):
    @by_hand
    async def get(self, request):
        return await aserve(request)


class AsyncDecorated(View):
    @method_decorator(by_hand)
    async def get(self, request):
        return await aserve(request)


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize(
    "view", [Method, Decorated, Dispatch, AsyncMethod, AsyncDecorated]
)
def test_a_method_decides(site, view, middleware):
    ours = "dwebsocket.middleware.WebSocketMiddleware"
    running = site({"": view.as_view()}, MIDDLEWARE=[ours] if middleware else [])
    with running.connect() as peer:
        peer.send("x")
        assert peer.recv() == "x"
    response, body = running.request("?no", **HANDSHAKE)
    assert (response.status, body) == (409, b"no")

"""Views of Django REST framework, in every mixture that old code has.

The framework is large: a server imports this module with the first request for it.
"""

from __future__ import annotations

from typing import Any

from django.urls import path
from django.utils.decorators import method_decorator
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView

from dwebsocket.decorators import accept_websocket

from .wrapped import talk


class RestView(APIView):
    """REST framework's class; the decorator on its method."""

    @method_decorator(accept_websocket)
    def get(self, request: Any) -> Any:
        """Say hello."""
        talk(request)
        return Response({"never": "rendered"}, status=418)


@method_decorator(accept_websocket, name="dispatch")
class RestDispatchView(APIView):
    """REST framework's class; the decorator on dispatch()."""

    def get(self, request: Any) -> Any:
        """Say hello."""
        talk(request)
        return Response({"plain": "json"})


@accept_websocket
@api_view(["GET"])
def rest_function_outside(request: Any) -> Any:
    """Be a REST framework function under the decorator."""
    talk(request)
    return Response({"plain": "json"})


@api_view(["GET"])
@accept_websocket
def rest_function_inside(request: Any) -> Any:
    """Be a decorated function under REST framework's decorator."""
    talk(request)
    return Response({"plain": "json"})


urlpatterns = [
    path("get", RestView.as_view()),
    path("dispatch", RestDispatchView.as_view()),
    path("function-outside", rest_function_outside),
    path("function-inside", rest_function_inside),
]

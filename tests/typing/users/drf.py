"""Views of Django REST framework."""

from __future__ import annotations

from typing import assert_type

from django.urls import path
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dwebsocket import accept_websocket, websocket
from dwebsocket.request import IsWebSocket
from dwebsocket.websocket import WebSocket


class ApiRequest(Request):
    """REST framework's request in a decorated view; for annotations only."""

    websocket: WebSocket
    is_websocket: IsWebSocket


@api_view(["GET"])
@permission_classes([IsAuthenticated])
@websocket
def events(request: ApiRequest, room: str) -> None:
    assert_type(request.websocket.wait(), str | bytes | None)
    request.websocket.send_json(dict(request.query_params))


@api_view(["GET"])
@websocket
def plain(request: Request) -> Response:
    return Response({"user": str(request.user)})


class Events(APIView):
    permission_classes = (IsAuthenticated,)

    @websocket
    def get(self, request: ApiRequest, room: str) -> Response | None:
        if not request.is_websocket():
            return Response({"room": room})
        request.websocket.send(room)
        return None


class Plain(APIView):
    @accept_websocket(dialect="modern")
    def get(self, request: Request, format: str | None = None) -> Response:
        return Response({"format": format})


urlpatterns = [
    path("events/<str:room>/", events),
    path("plain/", plain),
    path("class/<str:room>/", Events.as_view()),
    path("class/", Plain.as_view()),
]
